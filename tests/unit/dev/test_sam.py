"""What SAM is given to run, and what of its output a person is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from dev.sam.gateway import told
from dev.sam.local_template import FUNCTION, HTTP_API, SHORTEST_SECONDS, Document, localised, serving
from hosting.cloudformation import parse
from hosting.template import read_template

ROOT = Path(__file__).parents[3]


@pytest.fixture
def local() -> Document:
    """The whole template, for this machine."""
    document = parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    return localised(document, {"DATABASE_URL": "postgresql://x", "NEW": "y"}, "arm64")


def functions(document: Document) -> dict[str, Document]:
    return {name: held["Properties"] for name, held in document["Resources"].items() if held["Type"] == FUNCTION}


def test_sam_can_pass_on_every_variable_and_no_secret_is_in_the_template(local: Document) -> None:
    for function in functions(local).values():
        declared = function["Environment"]["Variables"]
        assert declared["DATABASE_URL"] == declared["NEW"] == ""
        assert declared["POWERTOOLS_SERVICE_NAME"] == function["Handler"].partition(".")[0]
        assert not any(name.endswith("_ARN") for name in declared), "what is given by URL is not looked for elsewhere"
    assert "postgresql://x" not in json.dumps(local)


def test_sam_finds_every_function_and_has_time_to_start_it(local: Document) -> None:
    known = {function.logical_id for function in read_template(ROOT / "template.yaml").functions}
    assert functions(local).keys() == known
    assert all("FunctionName" not in each and each["Timeout"] >= SHORTEST_SECONDS for each in functions(local).values())
    (api,) = (held for held in local["Resources"].values() if held["Type"] == HTTP_API)
    authorizer = api["Properties"]["Auth"]["Authorizers"]["ApiKey"]
    assert authorizer["FunctionArn"] == {"Fn::GetAtt": ["AuthorizerFunction", "Arn"]}


@pytest.mark.parametrize(
    "arn", [{"Fn::GetAtt": ["Keeper", "Arn"]}, {"Ref": "Keeper.Alias"}, {"Fn::Sub": "${Keeper.Arn}:live"}]
)
def test_an_authorizer_is_found_however_it_is_referred_to(arn: dict[str, Any]) -> None:
    api = {"Type": HTTP_API, "Properties": {"Auth": {"Authorizers": {"Key": {"FunctionArn": arn}}}}}
    keeper = {"Type": FUNCTION, "Properties": {"Handler": "keeper.handler.lambda_handler"}}
    served = serving(localised({"Resources": {"Api": api, "Keeper": keeper, "Other": keeper}}, {}, "x86_64"))
    assert served["Resources"].keys() == {"Api", "Keeper"}
    found = served["Resources"]["Api"]["Properties"]["Auth"]["Authorizers"]["Key"]["FunctionArn"]
    assert found == {"Fn::GetAtt": ["Keeper", "Arn"]}


def test_it_is_for_this_machine_and_needs_no_parameter(local: Document) -> None:
    assert local["Parameters"]["Architecture"]["Default"] == "arm64"
    assert all("Default" in spec for spec in local["Parameters"].values())


def test_only_what_answers_requests_is_served(local: Document) -> None:
    served = serving(local)
    assert functions(served).keys() == {"ApiFunction", "AuthorizerFunction"}
    assert functions(local).keys() > functions(served).keys(), "the whole template is left as it is"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            '2026-11-25 08:36:43 127.0.0.1 - - [25/Nov/2026 08:36:43] "PATCH /templates/x HTTP/1.1" 200 -\n',
            "PATCH /templates/x 200",
        ),
        ('127.0.0.1 - - [25/Nov/2026 08:31:10] "\x1b[31m\x1b[1mGET /stats HTTP/1.1\x1b[0m" 401 -', "GET /stats 401"),
        ('{"level":"WARNING","message":"x"}\r\n', '{"level":"WARNING","message":"x"}'),
        ("[ERROR] KeyError: 'x'\n", "[ERROR] KeyError: 'x'"),
        ("Lambda function 'ApiFunction' is already running\n", None),
        ("START RequestId: 1 Version: $LATEST\n", None),
        ("Function 'ApiFunction' timed out after 29 seconds\n", "Function 'ApiFunction' timed out after 29 seconds"),
        ("\n", None),
    ],
)
def test_of_what_sam_says_a_person_is_told_what_matters(line: str, expected: str | None) -> None:
    assert told(line) == expected
