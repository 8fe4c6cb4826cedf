"""What API Gateway's HTTP API is to the functions: routes, the authorizer, events in, responses out.

Answers of the gateway itself are problem+json here, so that a client sees one form of error; in AWS they are
`{"message": ...}`, with 404 where this says 405, and 500 where the authorizer failed and this says 503.
"""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from hosting.authorization import AuthorizerFailedError, Verdict, Verdicts
from hosting.events import MalformedAnswerError, Request, Response, authorizer_event, request_event, response_of
from hosting.invoker import Invoker
from hosting.reports import Reports
from hosting.routing import Match, Routes
from hosting.template import Template
from scheduler_core.clock import monotonic, utc_now

MAX_BODY_BYTES = 10 * 1024 * 1024
INTEGRATION_TIMEOUT_SECONDS = 30.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _RefusedError(Exception):
    """The gateway answers by itself."""

    def __init__(self, status: HTTPStatus, detail: str, *headers: tuple[str, str]) -> None:
        super().__init__(detail)
        problem = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
        self.response = Response(
            status=status.value,
            headers=[("content-type", "application/problem+json"), *headers],
            body=json.dumps(problem).encode(),
        )


class Gateway:
    """The ASGI application."""

    def __init__(
        self,
        template: Template,
        invoker: Invoker,
        reports: Reports,
        *,
        integration_timeout_seconds: float = INTEGRATION_TIMEOUT_SECONDS,
    ) -> None:
        self._routes = Routes(template.routes)
        self._authorizers = {a.name: (a, Verdicts(a, monotonic)) for a in template.authorizers}
        self._invoker = invoker
        self._reports = reports
        self._integration_timeout = integration_timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = str(uuid.uuid4())
        try:
            response = await self._answer(scope, receive, request_id)
        except _RefusedError as refusal:
            response = refusal.response
        await _send(send, response, request_id, with_body=scope["method"] != "HEAD")

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> Response:
        request = await _request(scope, receive)
        match = self._match(request)
        verdict = await self._authorized(request, match, request_id)
        event = request_event(
            request,
            route_key=match.route.key,
            path_parameters=match.parameters,
            request_id=request_id,
            now=utc_now(),
            authorizer_context=verdict.context if verdict else None,
        )
        return response_of_checked(await self._integrate(match.route.function, event), self._reports)

    def _match(self, request: Request) -> Match:
        if match := self._routes.match(request.method, request.path):
            return match
        if methods := self._routes.methods_of(request.path):
            allowed = ", ".join(methods)
            raise _RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"this path knows {allowed}", ("allow", allowed))
        raise _RefusedError(HTTPStatus.NOT_FOUND, f"there is no route {request.method} {request.path}")

    async def _authorized(self, request: Request, match: Match, request_id: str) -> Verdict | None:
        if match.route.authorizer is None:
            return None
        authorizer, verdicts = self._authorizers[match.route.authorizer]
        identity = tuple(request.header(name) or "" for name in authorizer.headers)
        if not all(identity):
            raise _RefusedError(HTTPStatus.UNAUTHORIZED, f"the header {', '.join(authorizer.headers)} is missing")

        async def ask(identity_source: Any) -> Any:
            event = authorizer_event(
                request,
                route_key=match.route.key,
                path_parameters=match.parameters,
                request_id=request_id,
                now=utc_now(),
                identity=identity_source,
            )
            try:
                return await self._integrate(authorizer.function, event)
            except _RefusedError as error:
                raise AuthorizerFailedError("the authorizer failed") from error

        try:
            verdict = await verdicts.of(identity, ask)
        except AuthorizerFailedError as error:
            self._reports.event("gateway.failed", function=authorizer.function, error=str(error))
            raise _RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, "the request could not be authorized", ("retry-after", "5")
            ) from error
        if not verdict.allowed:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "this key is not valid here")
        return verdict

    async def _integrate(self, function: str, event: dict[str, Any]) -> Any:
        try:
            async with asyncio.timeout(self._integration_timeout):
                result = await self._invoker.invoke(function, event)
        except TimeoutError as error:
            self._reports.event("gateway.failed", function=function, error="no answer within the integration timeout")
            retry = ("retry-after", "1")
            raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "no answer in time", retry) from error
        if result.error is not None:
            self._reports.event("gateway.failed", function=function, error=result.error.get("errorMessage", ""))
            raise _RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, "the function failed")
        return result.answer


def response_of_checked(answer: Any, reports: Reports) -> Response:
    """The function's response; a 500 where its answer is none."""
    try:
        return response_of(answer)
    except MalformedAnswerError as error:
        reports.event("gateway.failed", error=str(error))
        raise _RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, "the function's answer is no response") from error


async def _request(scope: Scope, receive: Receive) -> Request:
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a request has at most 10 MB", ("connection", "close")
            )
    client = scope.get("client")
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        source_ip=client[0] if client else "",
        body=bytes(body),
    )


async def _send(send: Send, response: Response, request_id: str, *, with_body: bool) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    headers.append((b"apigw-requestid", request_id.encode()))
    if response.status != HTTPStatus.NO_CONTENT:
        headers.append((b"content-length", str(len(response.body)).encode()))
    headers = [(n, v) for i, (n, v) in enumerate(headers) if n != b"content-length" or i == len(headers) - 1]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body if with_body else b""})
