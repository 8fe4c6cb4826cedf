"""A line for each request. Query strings, headers and bodies stay out of it: keys and payloads reach no log."""

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from hosting.gateway import Receive, Scope, Send
from hosting.reports import Reports
from scheduler_core.clock import monotonic

_LONGEST_PATH = 200
_REQUEST_ID = b"apigw-requestid"


class AccessLog:
    """The ASGI application around the gateway; reports `request` when an answer's head is sent, but for good health."""

    def __init__(self, application: Callable[[Scope, Receive, Send], Awaitable[None]], reports: Reports) -> None:
        self._application = application
        self._reports = reports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = monotonic()

        async def told(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and not _is_probe(scope, message):
                self._tell(scope, message, monotonic() - started)
            await send(message)

        await self._application(scope, receive, told)

    def _tell(self, scope: Scope, answer: MutableMapping[str, Any], seconds: float) -> None:
        client = scope.get("client")
        self._reports.event(
            "request",
            method=scope["method"],
            path=scope["path"][:_LONGEST_PATH],
            status=answer["status"],
            took_ms=round(seconds * 1_000, 1),
            client=client[0] if client else None,
            request_id=dict(answer["headers"]).get(_REQUEST_ID, b"").decode(),
        )


def _is_probe(scope: Scope, answer: MutableMapping[str, Any]) -> bool:
    return bool(scope["path"] == "/health" and answer["status"] == HTTPStatus.OK)
