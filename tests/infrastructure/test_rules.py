"""Parameters that do not go together are refused before anything is made."""

from typing import Any

import pytest

from tests.infrastructure.templates import MAIN, defaults, read

OWN = {
    "DataStores": "own",
    "DatabaseSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf",
    "RedisUrl": "rediss://:x@cache:6379",
    "SubnetIds": "subnet-1,subnet-2",
    "SecurityGroupIds": "sg-1",
}
PUBLIC = {**OWN, "DataStores": "public", "SubnetIds": "", "SecurityGroupIds": ""}


def evaluate(expression: Any, parameters: dict[str, str], lists: set[str]) -> Any:
    """CloudFormation's rule functions, those that the template uses."""

    def inside(value: Any) -> Any:
        return evaluate(value, parameters, lists)

    if isinstance(expression, list):
        return [inside(each) for each in expression]
    if not isinstance(expression, dict):
        return expression
    ((name, value),) = expression.items()
    match name:
        case "Ref":
            return parameters[value].split(",") if value in lists else parameters[value]
        case "Fn::Equals":
            left, right = inside(value)
            return left == right
        case "Fn::Not":
            return not inside(value)[0]
        case "Fn::And":
            return all(inside(value))
        case "Fn::EachMemberIn":
            members, of = inside(value)
            return all(each in of for each in members)
    raise AssertionError(f"{name} is not known here")


def refusals(**given: str) -> list[str]:
    document = read(MAIN)
    lists = {name for name, spec in document["Parameters"].items() if spec["Type"] == "CommaDelimitedList"}
    parameters = defaults() | given
    return [
        assertion["AssertDescription"]
        for rule in document["Rules"].values()
        if evaluate(rule.get("RuleCondition", True), parameters, lists)
        for assertion in rule["Assertions"]
        if not evaluate(assertion["Assert"], parameters, lists)
    ]


@pytest.mark.parametrize("given", [{}, OWN, PUBLIC, {**OWN, "DatabaseHost": "db.internal"}])
def test_what_goes_together_is_accepted(given: dict[str, str]) -> None:
    assert refusals(**given) == []


@pytest.mark.parametrize(
    ("given", "about"),
    [
        ({**OWN, "SubnetIds": ""}, "SubnetIds"),
        ({**OWN, "SecurityGroupIds": ""}, "SecurityGroupIds"),
        ({**OWN, "DatabaseSecretArn": ""}, "DatabaseSecretArn"),
        ({**PUBLIC, "DatabaseSecretArn": ""}, "DatabaseSecretArn"),
        ({**OWN, "RedisUrl": ""}, "RedisUrl"),
        ({**OWN, "DatabaseSnapshot": "arn:aws:rds:x"}, "DatabaseSnapshot"),
        ({**PUBLIC, "SubnetIds": "subnet-1"}, "SubnetIds"),
        ({"SubnetIds": "subnet-1"}, "SubnetIds"),
        ({"SecurityGroupIds": "sg-1"}, "SecurityGroupIds"),
        ({"RedisUrl": "rediss://x"}, "DataStores create"),
        ({"DatabaseSecretArn": OWN["DatabaseSecretArn"]}, "DataStores create"),
        ({"DatabaseHost": "db"}, "DataStores create"),
    ],
)
def test_what_does_not_is_refused_with_its_name(given: dict[str, str], about: str) -> None:
    (told,) = refusals(**given)
    assert about in told
