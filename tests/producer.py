"""A producer for tests: calls the API's handler with the events of API Gateway's HTTP API (payload format 2.0)."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from api.handler import lambda_handler

EVERYTHING = ("jobs:read", "jobs:write", "templates:read", "templates:write")


class Context:
    """What Lambda tells a handler about its invocation."""

    function_name = "api"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:000000000000:function:api"
    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 29_000


@dataclass(frozen=True)
class Reply:
    """A response; header names in lower case."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "")


def event_of(
    method: str,
    url: str,
    body: Any = None,
    *,
    headers: dict[str, str] | None = None,
    authorizer: dict[str, Any] | None = None,
    raw: str | None = None,
    encoded: bool = False,
) -> dict[str, Any]:
    """The event of one request; `raw` is a body that is text already, `encoded` sends it as base64."""
    parts = urlsplit(url)
    text = raw if raw is not None else None if body is None else json.dumps(body)
    query: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {parts.path}",
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        "headers": {"content-type": "application/json", "host": "localhost"} | (headers or {}),
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "localhost",
            "http": {"method": method, "path": parts.path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
            "requestId": "request",
            "routeKey": f"{method} {parts.path}",
            "stage": "$default",
            "time": "23/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_435_200_000,
        },
        "isBase64Encoded": encoded,
    }
    if query:
        event["queryStringParameters"] = query
    if text is not None:
        event["body"] = base64.b64encode(text.encode()).decode() if encoded else text
    if authorizer is not None:
        event["requestContext"]["authorizer"] = {"lambda": authorizer}
    return event


@dataclass(frozen=True)
class Producer:
    """Someone with a key of one merchant."""

    merchant_id: UUID
    permissions: tuple[str, ...] = EVERYTHING
    key_id: str = field(default="abcdefABCDEF")

    @property
    def authorizer(self) -> dict[str, str]:
        return {
            "merchant_id": str(self.merchant_id),
            "key_id": self.key_id,
            "permissions": " ".join(self.permissions),
        }

    def call(self, method: str, url: str, body: Any = None, **more: Any) -> Reply:
        """One request with the key."""
        return call(event_of(method, url, body, authorizer=self.authorizer, **more))

    def get(self, url: str, **more: Any) -> Reply:
        return self.call("GET", url, **more)

    def post(self, url: str, body: Any = None, **more: Any) -> Reply:
        return self.call("POST", url, body, **more)

    def patch(self, url: str, body: Any = None, **more: Any) -> Reply:
        return self.call("PATCH", url, body, **more)

    def delete(self, url: str, **more: Any) -> Reply:
        return self.call("DELETE", url, **more)


def call(event: dict[str, Any]) -> Reply:
    """What the handler makes of an event."""
    answer = lambda_handler(event, Context())
    text = answer.get("body") or ""
    if answer.get("isBase64Encoded"):
        text = base64.b64decode(text).decode()
    return Reply(answer["statusCode"], {name.lower(): value for name, value in answer["headers"].items()}, text)


TARGET = {"type": "http", "url": "http://127.0.0.1:9/hook"}
"""A target that the tests' installation allows."""
