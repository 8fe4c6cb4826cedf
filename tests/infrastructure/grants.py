"""What each function's role grants, in words that can be compared with what its code asks for."""

import json
from typing import Any

from tests.infrastructure.calls import calls_of
from tests.infrastructure.templates import FUNCTIONS, functions_of

Grant = tuple[str, str]
"""An IAM action and what it is allowed on."""


_SECRETS = ("DATABASE", "REDIS", "SIGNING_KEY")
_CALLED = ("executor", "watcher", "populator")


def needed(document: dict[str, Any]) -> dict[str, set[Grant]]:
    """What every function needs: from its code, and what Lambda needs in its name from the template."""
    functions = functions_of(document)
    return {name: _needed(name, functions[name]) for name in FUNCTIONS}


def granted(document: dict[str, Any]) -> dict[str, set[Grant]]:
    """What every function's role grants; an unknown resource is spelled out, so that it is equal to nothing."""
    functions = functions_of(document)
    return {name: _granted(document, functions[name]) for name in FUNCTIONS}


def _needed(name: str, function: dict[str, Any]) -> set[Grant]:
    calls = calls_of(name)
    own_log = {("logs:CreateLogStream", "own log"), ("logs:PutLogEvents", "own log")}
    secrets = {("secretsmanager:GetSecretValue", f"secret {each}") for each in calls.secrets}
    keys = {("kms:Decrypt", "key via secretsmanager"), ("kms:Decrypt", "key of own secret via secretsmanager")}
    invokes = {("lambda:InvokeFunction", f"function {each}") for each in calls.invokes}
    delivers = {(each, "what the operator named") for each in calls.delivers}
    publishes = {(each, "alert topic") for each in calls.publishes}
    topic_key = {("kms:Decrypt", "key via sns"), ("kms:GenerateDataKey", "key via sns")} if publishes else set()
    failures = {("sqs:SendMessage", "failed invocations")} if "EventInvokeConfig" in function else set()
    return own_log | secrets | (keys if secrets else set()) | invokes | delivers | publishes | topic_key | failures


def _granted(document: dict[str, Any], function: dict[str, Any]) -> set[Grant]:
    logical_id = function["Role"]["Fn::GetAtt"][0]
    role = document["Resources"][logical_id]["Properties"]
    found: set[Grant] = set()
    for policy in role["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            found |= _of_statement(statement, function)
    for policy in role["ManagedPolicyArns"]:
        if policy != {"Fn::If": ["InVpc", {"Ref": "NetworkInterfacePolicy"}, {"Ref": "AWS::NoValue"}]}:
            found.add(("*", json.dumps(policy)))
    return found


def _of_statement(statement: dict[str, Any], function: dict[str, Any]) -> set[Grant]:
    if "Fn::If" in statement:
        condition, statement, otherwise = statement["Fn::If"]
        assert (condition, otherwise) == ("HasTargets", {"Ref": "AWS::NoValue"})
    assert set(statement) <= {"Effect", "Action", "Resource", "Condition"}, statement
    assert statement["Effect"] == "Allow"
    via = _service(statement.get("Condition"))
    return {
        (action, _known(resource, function) + (f" via {via}" if via else ""))
        for action in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
    }


def _service(condition: dict[str, Any] | None) -> str:
    if condition is None:
        return ""
    text = condition["StringEquals"]["kms:ViaService"]["Fn::Sub"]
    assert set(condition) == {"StringEquals"}
    assert set(condition["StringEquals"]) == {"kms:ViaService"}
    return str(text).removesuffix(".${AWS::Region}.amazonaws.com")


def _known(resource: Any, function: dict[str, Any]) -> str:
    environment = function["Environment"]["Variables"]
    names: list[tuple[Any, str]] = [
        ({"Fn::GetAtt": [function["LoggingConfig"]["LogGroup"]["Ref"], "Arn"]}, "own log"),
        ({"Fn::GetAtt": ["Key", "Arn"]}, "key"),
        (_if("HasDatabaseSecretKey", {"Ref": "DatabaseSecretKeyArn"}), "key of own secret"),
        ({"Fn::GetAtt": ["FailedInvocations", "Arn"]}, "failed invocations"),
        ({"Ref": "DeliveryTargetArns"}, "what the operator named"),
        (environment.get("ALERT_TOPIC_ARN"), "alert topic"),
        *((environment.get(f"{each}_SECRET_ARN"), f"secret {each}") for each in _SECRETS),
        *((_arn(environment[f"{each.upper()}_FUNCTION"]), f"function {each}") for each in _CALLED),
    ]
    return next((name for each, name in names if each is not None and each == resource), json.dumps(resource))


def _if(condition: str, value: dict[str, str]) -> dict[str, Any]:
    return {"Fn::If": [condition, value, {"Ref": "AWS::NoValue"}]}


def _arn(function_name: dict[str, str]) -> dict[str, str]:
    """The ARN of a function that the environment names, alias and all."""
    prefix = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
    return {"Fn::Sub": prefix + function_name["Fn::Sub"]}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
