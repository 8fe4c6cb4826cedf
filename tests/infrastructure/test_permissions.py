"""Every function may do what its code does, and nothing else."""

import ast
import copy
from typing import Any

import pytest

from tests.infrastructure.calls import calls_of, client_actions, delivery_actions, modules_that_use_boto3
from tests.infrastructure.grants import granted, needed
from tests.infrastructure.templates import FUNCTIONS, MAIN, ROOT, of_type, read, walk


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return read(MAIN)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_grants_what_the_code_asks_for_and_no_more(document: dict[str, Any], function: str) -> None:
    assert granted(document)[function] == needed(document)[function]


def test_the_code_is_read_as_it_is() -> None:
    executor = calls_of("executor")
    assert executor.invokes == {"executor", "watcher"}
    assert executor.secrets == {"DATABASE", "REDIS", "SIGNING_KEY"}
    assert executor.delivers == {
        "events:PutEvents", "lambda:InvokeFunction", "sns:Publish", "sqs:SendMessage", "states:StartExecution",
    }  # fmt: skip
    assert calls_of("watcher").publishes == {"sns:Publish"}
    assert calls_of("authorizer").secrets == {"DATABASE"}
    assert not calls_of("api").delivers


def test_no_module_uses_boto3_in_a_way_that_is_not_understood() -> None:
    assert modules_that_use_boto3() == {"scheduler_core.delivery.aws", "watcher.alerts"}


def statements(document: dict[str, Any], function: str) -> list[Any]:
    role = document["Resources"][f"{function.title()}Role"]["Properties"]
    found: list[Any] = role["Policies"][0]["PolicyDocument"]["Statement"]
    return found


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_check_notices_one_action_more(document: dict[str, Any], function: str) -> None:
    changed = copy.deepcopy(document)
    statements(changed, function)[0]["Action"].append("logs:CreateLogGroup")
    assert granted(changed)[function] != needed(changed)[function]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_check_notices_a_wider_resource(document: dict[str, Any], function: str) -> None:
    changed = copy.deepcopy(document)
    statements(changed, function)[0]["Resource"] = "*"
    assert granted(changed)[function] != needed(changed)[function]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_check_notices_every_statement_that_is_missing(document: dict[str, Any], function: str) -> None:
    for place in range(len(statements(document, function))):
        changed = copy.deepcopy(document)
        del statements(changed, function)[place]
        assert granted(changed)[function] != needed(changed)[function], place


def test_the_check_notices_another_policy(document: dict[str, Any]) -> None:
    changed = copy.deepcopy(document)
    changed["Resources"]["ApiRole"]["Properties"]["ManagedPolicyArns"].append("arn:aws:iam::aws:policy/PowerUserAccess")
    assert granted(changed)["api"] != needed(changed)["api"]


def test_the_check_notices_a_call_that_is_new_in_the_code() -> None:
    senders = (ROOT / "layers/scheduler_core/scheduler_core/delivery/aws.py").read_text("utf-8")
    changed = senders.replace("client.send_message(", "client.send_message_batch(")
    assert "sqs:SendMessageBatch" in delivery_actions(ast.parse(changed))
    alerts = (ROOT / "functions/watcher/alerts.py").read_text("utf-8")
    assert client_actions(ast.parse(alerts.replace("_sns().publish(", "_sns().create_topic("))) == {"sns:CreateTopic"}


def test_no_role_is_shared(document: dict[str, Any]) -> None:
    functions = of_type(document["Resources"], "AWS::Serverless::Function").values()
    roles = [each["Properties"]["Role"]["Fn::GetAtt"][0] for each in functions]
    assert len(set(roles)) == len(FUNCTIONS)


def test_everything_is_allowed_on_something_named_but_for_network_interfaces_and_the_keys_own_policy(
    document: dict[str, Any],
) -> None:
    wide = {
        name
        for name, resource in document["Resources"].items()
        for each in walk(resource)
        if isinstance(each, dict) and each.get("Resource") == "*"
    }
    assert wide == {"NetworkInterfacePolicy", "Key"}, "a key's policy speaks of the key itself"


def test_network_interfaces_are_for_lambda_and_not_for_the_code(document: dict[str, Any]) -> None:
    policy = document["Resources"]["NetworkInterfacePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    allowed, denied = policy
    assert all(action.startswith("ec2:") and "*" not in action for action in allowed["Action"])
    assert (denied["Effect"], denied["Action"]) == ("Deny", "ec2:*")
    assert "lambda:SourceFunctionArn" in denied["Condition"]["ArnLike"]


def test_schedules_may_start_what_they_start_and_report_what_they_could_not(document: dict[str, Any]) -> None:
    role = document["Resources"]["ScheduleRole"]["Properties"]
    ticks, missed = role["Policies"][0]["PolicyDocument"]["Statement"]
    scheduled = {
        f"{name}.Alias"
        for name, resource in of_type(document["Resources"], "AWS::Serverless::Function").items()
        if any(event["Type"] == "ScheduleV2" for event in resource["Properties"].get("Events", {}).values())
    }
    assert {each["Ref"] for each in ticks["Resource"]} == scheduled
    assert missed["Resource"] == {"Fn::GetAtt": ["MissedTicks", "Arn"]}
    assert "aws:SourceAccount" in role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"]
