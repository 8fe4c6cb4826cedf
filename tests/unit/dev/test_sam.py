"""What SAM is given to run, and what of its output a person is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from dev.sam.building import declaring, serving
from dev.sam.gateway import told

ROOT = Path(__file__).parents[3]


@pytest.fixture
def document() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(json.dumps(yaml_parse((ROOT / "template.yaml").read_text()), default=str))
    return parsed


def functions(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    resources: dict[str, dict[str, Any]] = document["Resources"]
    return {name: held["Properties"] for name, held in resources.items() if held["Type"] == "AWS::Serverless::Function"}


def test_sam_can_pass_on_every_variable(document: dict[str, Any]) -> None:
    local = declaring(document, {"DATABASE_URL": "postgresql://x", "NEW": "y"}, "arm64")
    declared = local["Globals"]["Function"]["Environment"]["Variables"]
    assert declared["NEW"] == ""
    assert "postgresql://x" not in json.dumps(local), "values go through the file that only we can read"
    assert local["Parameters"]["Architecture"]["Default"] == "arm64"


def test_sam_can_find_every_function(document: dict[str, Any]) -> None:
    local = functions(declaring(document, {}, "x86_64"))
    assert all("FunctionName" not in each for each in local.values())
    assert all(each["Timeout"] >= 30 for each in local.values())


def test_only_what_answers_requests_is_served(document: dict[str, Any]) -> None:
    served = serving(declaring(document, {}, "x86_64"))
    assert functions(served).keys() == {"ApiFunction", "AuthorizerFunction"}
    assert functions(document).keys() > functions(served).keys(), "the whole template is left as it is"


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
