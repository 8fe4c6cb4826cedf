"""The shapes of API Gateway's HTTP API events, payload format 2.0."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hosting.events import MalformedAnswerError, Request, authorizer_event, request_event, response_of

NOW = datetime(2026, 3, 12, 19, 3, 58, 390_000, tzinfo=UTC)


def _request(**changes: Any) -> Request:
    values: dict[str, Any] = {
        "method": "POST",
        "path": "/things/7",
        "query": "a=1&a=2&b=x%20y&c=",
        "headers": [
            ("host", "127.0.0.1:3000"),
            ("accept", "text/plain"),
            ("accept", "application/json"),
            ("cookie", "one=1; two=2"),
            ("content-type", "application/json; charset=utf-8"),
            ("user-agent", "curl/8"),
        ],
        "source_ip": "127.0.0.1",
        "body": b'{"k":"\xc3\xa4"}',
    }
    return Request(**(values | changes))


def _event(request: Request, context: dict[str, Any] | None = None) -> dict[str, Any]:
    return request_event(
        request,
        route_key="POST /things/{id}",
        path_parameters={"id": "7"},
        request_id="11111111-2222-3333-4444-555555555555",
        now=NOW,
        authorizer_context=context,
    )


def test_a_request_becomes_a_version_2_event() -> None:
    event = _event(_request(), {"merchant_id": "m"})
    assert event["version"] == "2.0"
    assert event["routeKey"] == "POST /things/{id}"
    assert event["rawPath"] == "/things/7"
    assert event["rawQueryString"] == "a=1&a=2&b=x%20y&c="
    assert event["queryStringParameters"] == {"a": "1,2", "b": "x y", "c": ""}
    assert event["pathParameters"] == {"id": "7"}
    assert event["cookies"] == ["one=1", "two=2"]
    assert event["body"] == '{"k":"ä"}'
    assert event["isBase64Encoded"] is False
    context = event["requestContext"]
    assert context["http"] == {
        "method": "POST",
        "path": "/things/7",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "curl/8",
    }
    assert context["routeKey"] == event["routeKey"]
    assert context["stage"] == "$default"
    assert context["time"] == "12/Mar/2026:19:03:58 +0000"
    assert context["timeEpoch"] == int(NOW.timestamp() * 1_000)
    assert context["requestId"] == "11111111-2222-3333-4444-555555555555"
    assert context["authorizer"] == {"lambda": {"merchant_id": "m"}}


def test_headers_are_joined_by_commas_and_leave_the_cookies_out() -> None:
    headers = _event(_request())["headers"]
    assert headers["accept"] == "text/plain,application/json"
    assert "cookie" not in headers
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-port"] == "3000"
    assert headers["x-amzn-trace-id"].startswith("Root=1-")


def test_what_a_request_does_not_have_is_not_in_the_event() -> None:
    event = request_event(
        Request(method="GET", path="/open", query="", headers=[], source_ip="::1"),
        route_key="GET /open",
        path_parameters={},
        request_id="r",
        now=NOW,
        authorizer_context=None,
    )
    absent = {"body", "cookies", "queryStringParameters", "pathParameters"}
    assert not absent & event.keys()
    assert "authorizer" not in event["requestContext"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"a=1"),
        ("image/png", b"\x89PNG"),
        ("application/json", b"\xff"),
        ("", b"x"),
    ],
)
def test_a_body_that_is_not_text_comes_in_base64(kind: str, body: bytes) -> None:
    event = _event(_request(headers=[("content-type", kind)] if kind else [], body=body))
    assert event["isBase64Encoded"] is True
    assert event["body"] != body.decode("latin-1")


def test_the_authorizer_is_told_who_asks_for_what() -> None:
    event = authorizer_event(
        _request(),
        route_key="POST /things/{id}",
        path_parameters={"id": "7"},
        request_id="r",
        now=NOW,
        identity=["the key"],
    )
    assert event["version"] == "2.0"
    assert event["type"] == "REQUEST"
    assert event["identitySource"] == ["the key"]
    assert event["routeArn"] == "arn:aws:execute-api:us-east-1:123456789012:local/$default/POST/things/7"
    assert event["routeKey"] == "POST /things/{id}"
    assert "body" not in event


def test_an_answer_with_a_status_code_is_a_response() -> None:
    response = response_of({"statusCode": 201, "body": "x", "headers": {"Location": "/x"}, "cookies": ["a=1", "b=2"]})
    assert response.status == 201
    assert response.body == b"x"
    assert list(response.headers) == [
        ("location", "/x"),
        ("content-type", "application/json"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ]


def test_an_answer_without_a_status_code_is_the_body_of_a_200() -> None:
    response = response_of({"hello": "world"})
    assert (response.status, response.body) == (200, b'{"hello": "world"}')
    assert ("content-type", "application/json") in response.headers


def test_base64_is_decoded() -> None:
    assert response_of({"statusCode": 200, "isBase64Encoded": True, "body": "AAEC"}).body == b"\x00\x01\x02"


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": "200"},
        {"statusCode": 99},
        {"statusCode": True},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "body": "%", "isBase64Encoded": True},
    ],
)
def test_an_answer_that_is_no_response_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswerError):
        response_of(answer)
