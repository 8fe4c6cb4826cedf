"""The events of API Gateway's HTTP APIs, payload format 2.0, and what their answers mean. Pure.

Shapes: "Create AWS Lambda proxy integrations for HTTP APIs" and "Control access to HTTP APIs with AWS Lambda
authorizers" in the API Gateway developer guide.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

ACCOUNT = "123456789012"
API = "local"
REGION = "us-east-1"
_TEXT = ("application/json", "application/xml", "application/javascript")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request as it came; header names in lower case, in order, with repetitions."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    source_ip: str
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """All values of a header, joined by commas; None where there is none."""
        values = [value for key, value in self.headers if key == name]
        return ",".join(values) if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP response as it goes out."""

    status: int
    headers: Sequence[tuple[str, str]] = field(default=())
    body: bytes = b""


class MalformedAnswerError(Exception):
    """The function's answer is no response that the gateway understands."""


def request_event(
    request: Request,
    *,
    route_key: str,
    path_parameters: Mapping[str, str],
    request_id: str,
    now: datetime,
    authorizer_context: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The event of a Lambda proxy integration."""
    event = _common(request, route_key=route_key, path_parameters=path_parameters, request_id=request_id, now=now)
    if authorizer_context is not None:
        event["requestContext"]["authorizer"] = {"lambda": dict(authorizer_context)}
    event["isBase64Encoded"] = False
    if request.body:
        event["body"], event["isBase64Encoded"] = _body(request)
    return event


def authorizer_event(
    request: Request,
    *,
    route_key: str,
    path_parameters: Mapping[str, str],
    request_id: str,
    now: datetime,
    identity: Sequence[str],
) -> dict[str, Any]:
    """The event of a REQUEST authorizer."""
    event = _common(request, route_key=route_key, path_parameters=path_parameters, request_id=request_id, now=now)
    arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{API}/$default/{request.method}{request.path}"
    return {"type": "REQUEST", "routeArn": arn, "identitySource": list(identity), **event}


def _common(
    request: Request, *, route_key: str, path_parameters: Mapping[str, str], request_id: str, now: datetime
) -> dict[str, Any]:
    headers: dict[str, str] = {}
    for name, value in request.headers:
        if name != "cookie":
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    host = headers.get("host", "localhost")
    headers.setdefault("content-length", str(len(request.body)))
    headers |= {
        "x-amzn-trace-id": f"Root=1-{int(now.timestamp()):08x}-{request_id.replace('-', '')[:24]}",
        "x-forwarded-for": request.source_ip,
        "x-forwarded-port": host.rpartition(":")[2] if ":" in host else "80",
        "x-forwarded-proto": "http",
    }
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": API,
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": route_key,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1_000),
        },
    }
    cookies = [part.strip() for key, value in request.headers if key == "cookie" for part in value.split(";")]
    if cookies:
        event["cookies"] = cookies
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    if parameters:
        event["queryStringParameters"] = parameters
    if path_parameters:
        event["pathParameters"] = dict(path_parameters)
    return event


def _body(request: Request) -> tuple[str, bool]:
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in _TEXT:
        try:
            return request.body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(request.body).decode(), True


def response_of(answer: Any) -> Response:
    """The response that a function's answer stands for. Raises MalformedAnswerError.

    An answer without `statusCode` is the body of a 200.
    """
    if not isinstance(answer, dict) or "statusCode" not in answer:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return Response(status=200, headers=[("content-type", "application/json")], body=text.encode())
    status = answer["statusCode"]
    body = answer.get("body") or ""
    if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599 or not isinstance(body, str):
        raise MalformedAnswerError(f"statusCode {status!r}, body of type {type(body).__name__}")
    try:
        encoded = base64.b64decode(body, validate=True) if answer.get("isBase64Encoded") else body.encode()
    except binascii.Error as error:
        raise MalformedAnswerError("the body is not base64") from error
    headers = [(str(name).lower(), str(value)) for name, value in (answer.get("headers") or {}).items()]
    if not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "application/json"))
    headers += [("set-cookie", str(cookie)) for cookie in answer.get("cookies") or ()]
    return Response(status=status, headers=headers, body=encoded)
