"""Lambda's Invoke API, so that functions start one another here exactly as they do in AWS."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from hosting.gateway import Receive, Scope, Send
from hosting.invoker import Invoker, QueueFullError

_PATH = re.compile(r"/2015-03-31/functions/(?P<name>[^/]+)/invocations")
_MAX_BODY_BYTES = 6 * 1024 * 1024


class InvokeApi:
    """The ASGI application: `POST /2015-03-31/functions/{name}/invocations`, name or ARN."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        more = True
        while more and len(body) <= _MAX_BODY_BYTES:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        status, headers, answer = await self._answer(scope, bytes(body))
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        raw.append((b"content-length", str(len(answer)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, scope: Scope, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        match = _PATH.fullmatch(scope["path"])
        if match is None or scope["method"] != "POST":
            return _error(404, "ResourceNotFoundException", "there is only Invoke here")
        name = _name(unquote(match["name"]))
        if name not in self._invoker.pools:
            return _error(404, "ResourceNotFoundException", f"Function not found: {name}")
        if len(body) > _MAX_BODY_BYTES:
            return _error(413, "RequestTooLargeException", "a payload has at most 6 MB")
        try:
            event: Any = json.loads(body) if body else {}
        except ValueError:
            return _error(400, "InvalidRequestContentException", "the payload is not JSON")
        kind = dict(scope["headers"]).get(b"x-amz-invocation-type", b"RequestResponse").decode()
        return await self._invoke(name, event, kind)

    async def _invoke(self, name: str, event: Any, kind: str) -> tuple[int, Mapping[str, str], bytes]:
        match kind:
            case "Event":
                try:
                    return 202, {"x-amzn-requestid": self._invoker.invoke_async(name, event)}, b""
                except QueueFullError:
                    return _error(429, "TooManyRequestsException", "too many invocations wait")
            case "DryRun":
                return 204, {}, b""
            case _:
                result = await self._invoker.invoke(name, event)
                headers = {"content-type": "application/json", "x-amz-executed-version": "$LATEST"}
                if result.error is not None:
                    headers["x-amz-function-error"] = "Unhandled"
                return 200, headers, result.as_json()


def _name(reference: str) -> str:
    """`name`, `name:qualifier`, `account:function:name` or a whole ARN, as the name."""
    parts = reference.split(":")
    if "function" in parts:
        return parts[parts.index("function") + 1]
    return parts[0]


def _error(status: int, kind: str, message: str) -> tuple[int, Mapping[str, str], bytes]:
    headers = {"content-type": "application/json", "x-amzn-errortype": kind}
    return status, headers, json.dumps({"Type": "User", "Message": message}).encode()
