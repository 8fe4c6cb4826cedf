"""What SAM makes of the template: the gateway in AWS is told what the local one reads."""

import re
from pathlib import Path
from typing import Any

import boto3
import pytest
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from hosting.template import read_template

FILE = Path(__file__).parents[3] / "template.yaml"
PARAMETERS = {"DatabaseUrl": "x", "RedisUrl": "y", "SigningKey": "z" * 32}


@pytest.fixture(scope="module")
def translated() -> dict[str, Any]:
    """The CloudFormation template, as if the code had been uploaded."""
    text = re.sub(
        r"(CodeUri|ContentUri): \S+/$", r"\1: s3://bucket/key", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    session = boto3.Session(region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
    document = Translator({}, Parser(), boto_session=session).translate(yaml_parse(text), PARAMETERS)
    resources: dict[str, Any] = document["Resources"]
    return resources


def test_the_gateway_keeps_the_authorizers_answer_as_long_as_the_local_one(translated: dict[str, Any]) -> None:
    (api,) = [r["Properties"]["Body"] for r in translated.values() if r["Type"] == "AWS::ApiGatewayV2::Api"]
    (scheme,) = api["components"]["securitySchemes"].values()
    authorizer = scheme["x-amazon-apigateway-authorizer"]
    (local,) = read_template(FILE).authorizers
    assert authorizer["authorizerResultTtlInSeconds"] == local.ttl_seconds
    assert authorizer["authorizerPayloadFormatVersion"] == "2.0"
    assert authorizer["enableSimpleResponses"] is True
    assert authorizer["identitySource"] == ["$request.header.x-api-key"]


def test_the_gateway_has_the_local_routes_and_asks_for_a_key_on_the_same_ones(translated: dict[str, Any]) -> None:
    (api,) = [r["Properties"]["Body"] for r in translated.values() if r["Type"] == "AWS::ApiGatewayV2::Api"]
    in_aws = {
        f"{method.upper()} {path}": any("ApiKey" in each for each in operation.get("security", []))
        for path, operations in api["paths"].items()
        for method, operation in operations.items()
    }
    assert in_aws == {route.key: route.authorizer is not None for route in read_template(FILE).routes}


def test_every_tick_is_a_schedule_of_eventbridge(translated: dict[str, Any]) -> None:
    rates = [
        r["Properties"]["ScheduleExpression"] for r in translated.values() if r["Type"] == "AWS::Scheduler::Schedule"
    ]
    assert rates == ["rate(1 minute)"] * len(read_template(FILE).schedules)
