"""What SAM makes of the template: the gateway in AWS is told what the local one reads."""

import json
from typing import Any

import pytest

from hosting.template import read_template
from tests.infrastructure.templates import MAIN, defaults, of_type, transformed


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    found: dict[str, Any] = transformed()["Resources"]
    return found


def body(resources: dict[str, Any]) -> dict[str, Any]:
    (api,) = [each["Properties"]["Body"] for each in of_type(resources, "AWS::ApiGatewayV2::Api").values()]
    found: dict[str, Any] = api
    return found


def test_the_gateway_keeps_the_authorizers_answer_as_long_as_the_local_one(resources: dict[str, Any]) -> None:
    (scheme,) = body(resources)["components"]["securitySchemes"].values()
    authorizer = scheme["x-amazon-apigateway-authorizer"]
    (local,) = read_template(MAIN).authorizers
    assert authorizer["authorizerResultTtlInSeconds"] == {"Ref": "AuthorizerTtlSeconds"}
    assert int(defaults()["AuthorizerTtlSeconds"]) == local.ttl_seconds == 60
    assert authorizer["authorizerPayloadFormatVersion"] == "2.0"
    assert authorizer["enableSimpleResponses"] is True
    assert authorizer["identitySource"] == ["$request.header.x-api-key"]


def test_the_authorizer_is_asked_through_its_alias_which_lets_the_gateway_in(resources: dict[str, Any]) -> None:
    (scheme,) = body(resources)["components"]["securitySchemes"].values()
    uri = json.dumps(scheme["x-amazon-apigateway-authorizer"]["authorizerUri"])
    assert ":function:${AWS::StackName}-authorizer:live" in uri
    permission = resources["AuthorizerPermission"]["Properties"]
    assert permission["FunctionName"] == {"Ref": "AuthorizerFunctionAliaslive"}
    assert permission["Principal"] == "apigateway.amazonaws.com"
    assert permission["SourceArn"]["Fn::Sub"].endswith(":${HttpApi}/authorizers/*")


def test_the_gateway_has_the_local_routes_and_asks_for_a_key_on_the_same_ones(resources: dict[str, Any]) -> None:
    in_aws = {
        f"{method.upper()} {path}": any("ApiKey" in each for each in operation.get("security", []))
        for path, operations in body(resources)["paths"].items()
        for method, operation in operations.items()
    }
    assert in_aws == {route.key: route.authorizer is not None for route in read_template(MAIN).routes}


def test_every_route_leads_to_the_alias(resources: dict[str, Any]) -> None:
    uris = [
        json.dumps(operation["x-amazon-apigateway-integration"]["uri"])
        for operations in body(resources)["paths"].values()
        for operation in operations.values()
    ]
    assert all("ApiFunctionAliaslive" in uri or "ApiFunction.Alias" in uri for uri in uris), uris[0]


def test_a_browser_may_call_from_nowhere_until_origins_are_given() -> None:
    given = body(transformed(CorsOrigins="https://a.example,https://b.example")["Resources"])
    condition, cors, otherwise = given["x-amazon-apigateway-cors"]["Fn::If"]
    assert condition == "HasCors"
    assert otherwise == {"allowMethods": ["GET"]}, "no origin, so no page may call"
    assert cors["allowOrigins"] == {"Fn::Split": [",", "https://a.example,https://b.example"]}
    assert "x-api-key" in cors["allowHeaders"]
    assert set(cors["allowMethods"]) == {route.method for route in read_template(MAIN).routes}


def test_requests_are_throttled(resources: dict[str, Any]) -> None:
    (stage,) = of_type(resources, "AWS::ApiGatewayV2::Stage").values()
    assert stage["Properties"]["DefaultRouteSettings"] == {
        "ThrottlingRateLimit": {"Ref": "ApiRateLimit"},
        "ThrottlingBurstLimit": {"Ref": "ApiBurstLimit"},
    }


def test_the_access_log_is_json_and_has_neither_keys_nor_bodies(resources: dict[str, Any]) -> None:
    (stage,) = of_type(resources, "AWS::ApiGatewayV2::Stage").values()
    line = json.loads(stage["Properties"]["AccessLogSettings"]["Format"])
    assert {"requestId", "route", "status", "merchant", "latency_ms"} <= set(line)
    for variable in line.values():
        assert not any(word in variable for word in ("header", "apiKey", "body", "path", "query")), variable
