"""What every function has, and what none has."""

import copy
import json
import re
from typing import Any

import pytest

from tests.infrastructure.templates import (
    FUNCTIONS,
    MAIN,
    functions_of,
    of_type,
    read,
    references,
    transformed,
    walk,
)

TAKE_TRAFFIC = tuple(each for each in FUNCTIONS if each != "migrator")
MOVES = {"DatabaseSecretArn", "DatabaseHost", "SubnetIds", "SecurityGroupIds", "SigningKeySecretArn", "Architecture"}
"""Changed when stores move or code is built anew: `Release` is for those (docs/deploy.md)."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return read(MAIN)


@pytest.fixture(scope="module")
def in_aws() -> dict[str, Any]:
    return transformed()


def secret_parameters(document: dict[str, Any]) -> set[str]:
    return {name for name, spec in document["Parameters"].items() if spec.get("NoEcho")}


def leaks(document: dict[str, Any]) -> list[str]:
    """Variables of functions that hold a secret, or what would resolve to one."""
    secrets = secret_parameters(document)
    return [
        f"{function}: {name}"
        for function, properties in functions_of(document).items()
        for name, value in properties["Environment"]["Variables"].items()
        if value != {"Ref": "AWS::NoValue"}
        and (
            references(value) & secrets
            or "resolve:" in json.dumps(value)
            or re.search(r"PASSWORD|_URL$|SIGNING_KEY$|TOKEN", name) is not None
        )
    ]


def test_no_environment_holds_a_secret(document: dict[str, Any]) -> None:
    assert leaks(document) == []
    assert secret_parameters(document) == {"RedisUrl"}


def test_what_only_a_local_run_gives_is_declared_for_sam_cli_and_nothing_in_aws(document: dict[str, Any]) -> None:
    for properties in functions_of(document).values():
        variables = properties["Environment"]["Variables"]
        assert all(variables[each] == {"Ref": "AWS::NoValue"} for each in ("DATABASE_URL", "REDIS_URL", "SIGNING_KEY"))


@pytest.mark.parametrize(
    "value",
    [
        {"Ref": "RedisUrl"},
        {"Fn::Sub": "redis://x:${RedisUrl}@y"},
        {"Fn::If": ["OwnStores", {"Ref": "RedisUrl"}, ""]},
        "{{resolve:secretsmanager:some:SecretString}}",
    ],
)
def test_a_secret_in_an_environment_is_noticed(document: dict[str, Any], value: object) -> None:
    changed = copy.deepcopy(document)
    changed["Globals"]["Function"]["Environment"]["Variables"]["SOMETHING"] = value
    assert len(leaks(changed)) == len(FUNCTIONS)


def test_the_parameter_that_is_secret_goes_into_a_secret_and_nowhere_else(document: dict[str, Any]) -> None:
    users = [name for name, resource in document["Resources"].items() if "RedisUrl" in references(resource)]
    assert users == ["RedisSecret"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_a_log_group_of_its_own_that_ends(document: dict[str, Any], function: str) -> None:
    properties = functions_of(document)[function]
    group = document["Resources"][properties["LoggingConfig"]["LogGroup"]["Ref"]]["Properties"]
    assert group["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/${{AWS::StackName}}-{function}"}
    assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert group["KmsKeyId"] == {"Fn::GetAtt": ["Key", "Arn"]}


def test_all_run_on_the_one_layer_and_the_chosen_machine(in_aws: dict[str, Any]) -> None:
    found = of_type(in_aws["Resources"], "AWS::Lambda::Function")
    assert len(found) == len(FUNCTIONS)
    for each in found.values():
        assert each["Properties"]["Runtime"] == "python3.12"
        assert each["Properties"]["Architectures"] == [{"Ref": "Architecture"}]
        assert len(each["Properties"]["Layers"]) == 1


def test_nothing_takes_traffic_before_the_migration(in_aws: dict[str, Any]) -> None:
    """The aliases that callers use come from versions of functions that wait for it."""
    resources = in_aws["Resources"]
    for function in TAKE_TRAFFIC:
        assert resources[f"{function.title()}Function"]["DependsOn"] == "Migration"
        version = resources[f"{function.title()}FunctionAliaslive"]["Properties"]["FunctionVersion"]["Fn::GetAtt"][0]
        assert resources[version]["Properties"]["FunctionName"] == {"Ref": f"{function.title()}Function"}
    migration = resources["Migration"]
    assert migration["Type"] == "Custom::Migration"
    assert migration["Properties"]["ServiceToken"] == {"Fn::GetAtt": ["MigratorFunction", "Arn"]}
    (layer,) = of_type(resources, "AWS::Lambda::LayerVersion")
    assert migration["Properties"]["LayerVersion"] == {"Ref": layer}
    assert int(migration["Properties"]["ServiceTimeout"]) > resources["MigratorFunction"]["Properties"]["Timeout"]


def test_functions_call_one_anothers_alias(document: dict[str, Any]) -> None:
    variables = document["Globals"]["Function"]["Environment"]["Variables"]
    for name in ("EXECUTOR", "POPULATOR", "WATCHER"):
        assert variables[f"{name}_FUNCTION"] == {"Fn::Sub": f"${{AWS::StackName}}-{name.lower()}:live"}


@pytest.mark.parametrize("function", TAKE_TRAFFIC)
def test_a_changed_parameter_reaches_the_alias(document: dict[str, Any], function: str) -> None:
    """A version is made for another text, or another description; what a function reads has to be in one of them."""
    properties = functions_of(document)[function]
    assert properties["AutoPublishAliasAllProperties"] is True
    read_by_function = {
        each
        for name in ("Environment", "SnapStart", "VpcConfig", "Architectures", "MemorySize", "Timeout")
        for each in references(properties.get(name, {}))
        if each in document["Parameters"]
    }
    described = references(properties["VersionDescription"])
    assert read_by_function - MOVES <= described
    assert "Release" in described


def test_a_versions_description_fits_lambda(document: dict[str, Any]) -> None:
    """At most 256 characters, each parameter at its longest."""
    parameters = document["Parameters"]
    longest = {
        "Release": parameters["Release"]["MaxLength"],
        "AllowedTargetNetworks": parameters["AllowedTargetNetworks"]["MaxLength"],
        "DatabaseName": 31,
        "MaxExecutors": len(str(parameters["MaxExecutors"]["MaxValue"])),
        **{
            name: max(len(str(value)) for value in parameters[name]["AllowedValues"])
            for name in ("LogLevel", "JobEvents", "SnapStart", "DataStores")
        },
    }
    text = functions_of(document)["api"]["VersionDescription"]["Fn::Sub"]
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(longest)
    assert sum(longest.values()) + len(longest) - 1 <= 256


def test_former_versions_stay_and_so_does_the_layer_under_them(in_aws: dict[str, Any]) -> None:
    for kind in ("AWS::Lambda::Version", "AWS::Lambda::LayerVersion"):
        assert {each["DeletionPolicy"] for each in of_type(in_aws["Resources"], kind).values()} == {"Retain"}


def test_what_is_called_asynchronously_says_where_it_failed(document: dict[str, Any]) -> None:
    functions = functions_of(document)
    for name in ("populator", "executor", "watcher", "recurrence"):
        config = functions[name]["EventInvokeConfig"]
        assert config["DestinationConfig"]["OnFailure"] == {
            "Type": "SQS",
            "Destination": {"Fn::GetAtt": ["FailedInvocations", "Arn"]},
        }
        assert 60 <= config["MaximumEventAgeInSeconds"] <= 21_600


def test_api_and_authorizer_can_start_from_snapshots_and_do_not_by_default(document: dict[str, Any]) -> None:
    functions = functions_of(document)
    assert {name for name in FUNCTIONS if "SnapStart" in functions[name]} == {"api", "authorizer"}
    assert document["Parameters"]["SnapStart"]["Default"] == "None"


def test_every_parameter_is_in_a_group_of_the_guided_deploy(document: dict[str, Any]) -> None:
    groups = document["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    listed = [name for group in groups for name in group["Parameters"]]
    assert sorted(listed) == sorted(document["Parameters"])


def test_the_template_keeps_within_cloudformations_limits(in_aws: dict[str, Any]) -> None:
    assert len(in_aws["Resources"]) <= 400, "500 is the end"
    assert len(in_aws["Parameters"]) <= 100, "200 is the end"
    assert len(json.dumps(in_aws)) <= 800_000, "a million bytes is the end"
    assert MAIN.stat().st_size <= 200_000


def test_what_must_outlive_the_stack_is_kept(document: dict[str, Any]) -> None:
    resources = document["Resources"]
    for name in ("Key", "SigningKeySecret"):
        assert resources[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resources[name]["UpdateReplacePolicy"] == "Retain"


def test_secrets_logs_and_the_topic_are_under_the_stacks_own_key(document: dict[str, Any]) -> None:
    key = {"Fn::GetAtt": ["Key", "Arn"]}
    for kind, name in (
        ("AWS::SecretsManager::Secret", "KmsKeyId"),
        ("AWS::Logs::LogGroup", "KmsKeyId"),
        ("AWS::SNS::Topic", "KmsMasterKeyId"),
    ):
        found = of_type(document["Resources"], kind)
        assert found
        assert all(each["Properties"][name] == key for each in found.values()), kind


def test_every_exception_for_the_scanner_says_why(document: dict[str, Any]) -> None:
    skips = [each for each in walk(document) if isinstance(each, dict) and set(each) == {"id", "comment"}]
    assert skips
    assert all(len(each["comment"]) > 20 for each in skips)
