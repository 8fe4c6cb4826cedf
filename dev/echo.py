"""A receiver of deliveries, in a process of its own: `python -m dev.echo <descriptor of a listening socket>`.

Any request is answered with 200, or as its query asks: `?status=503`, `?delay_ms=250`, `?fail_first=2` (503 for the
first two attempts of each webhook-id). `GET /received?limit=100&after=0` lists what came, newest last, with the
time in microseconds since 1970; `DELETE /received` forgets it. Bodies are neither kept nor printed.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

import uvloop

from hosting import parent
from hosting.gateway import Receive, Scope, Send
from hosting.web import WebServer

_KEPT = 200_000
_COUNTED = 100_000
_MOST_LISTED = 100_000
_SHOWN_PER_SECOND = 10
_LONGEST_DELAY_MS = 300_000


@dataclass(frozen=True, slots=True)
class Received:
    """One request that came. `signature` is valid, invalid or unchecked (there is none, or no secret to check it)."""

    number: int
    received_us: int
    method: str
    path: str
    webhook_id: str
    attempt: str
    status: int
    signature: str


class Echo:
    """The ASGI application."""

    def __init__(self, secret: str | None) -> None:
        self._check = _checker(secret) if secret else None
        self._received: deque[Received] = deque(maxlen=_KEPT)
        self._count = 0
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._second = 0
        self._in_second = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        now_us = time.time_ns() // 1_000
        body = await _body(receive)
        asked = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if scope["path"] == "/received" and scope["method"] in ("GET", "DELETE"):
            await _send(send, HTTPStatus.OK, self._listed(scope["method"], asked))
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        status = self._status(scope["path"], headers.get("webhook-id", ""), asked)
        received = Received(
            number=self._count,
            received_us=now_us,
            method=scope["method"],
            path=scope["path"],
            webhook_id=headers.get("webhook-id", ""),
            attempt=headers.get("x-scheduler-attempt", ""),
            status=status,
            signature=self._signature(headers, body),
        )
        self._count += 1
        self._received.append(received)
        self._show(received)
        if delay := _number(asked.get("delay_ms"), 0):
            await asyncio.sleep(min(delay, _LONGEST_DELAY_MS) / 1_000)
        await _send(send, status, {"received": received.number, "webhook_id": received.webhook_id})

    def _status(self, path: str, webhook_id: str, asked: dict[str, str]) -> int:
        if fail_first := _number(asked.get("fail_first"), 0):
            if len(self._attempts) > _COUNTED:
                self._attempts.clear()
            self._attempts[path, webhook_id] += 1
            if self._attempts[path, webhook_id] <= fail_first:
                return HTTPStatus.SERVICE_UNAVAILABLE
        status = _number(asked.get("status"), HTTPStatus.OK)
        return status if 200 <= status <= 599 else HTTPStatus.OK

    def _signature(self, headers: dict[str, str], body: bytes) -> str:
        if self._check is None or "webhook-signature" not in headers:
            return "unchecked"
        return "valid" if self._check(body, headers) else "invalid"

    def _listed(self, method: str, asked: dict[str, str]) -> dict[str, Any]:
        if method == "DELETE":
            self._received.clear()
            self._attempts.clear()
            return {"total": self._count, "items": []}
        limit = min(_number(asked.get("limit"), 100), _MOST_LISTED)
        after = _number(asked.get("after"), -1)
        if "after" in asked:
            first = self._received[0].number if self._received else 0
            items = list(islice(self._received, max(0, after + 1 - first), max(0, after + 1 - first) + limit))
        else:
            items = list(islice(reversed(self._received), limit))[::-1]
        return {"total": self._count, "items": [asdict(item) for item in items]}

    def _show(self, received: Received) -> None:
        second = received.received_us // 1_000_000
        if second != self._second:
            unshown = self._in_second - _SHOWN_PER_SECOND
            if unshown > 0:
                _print({"event": "echo.received_more", "count": unshown})
            self._second, self._in_second = second, 0
        self._in_second += 1
        if self._in_second <= _SHOWN_PER_SECOND:
            _print({"event": "echo.received", **asdict(received)})


def _checker(secret: str) -> Callable[[bytes, dict[str, str]], bool]:
    # Only who has a secret needs the library: the receiver also runs where it is not installed.
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError

    webhook = Webhook(secret)

    def holds(body: bytes, headers: dict[str, str]) -> bool:
        try:
            webhook.verify(body, headers, json_parse=False)
        except (WebhookVerificationError, ValueError):
            return False
        return True

    return holds


def _print(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _number(text: str | None, default: int) -> int:
    with contextlib.suppress(ValueError):
        return int(text) if text is not None else default
    return default


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


async def _send(send: Send, status: int, answer: dict[str, Any]) -> None:
    body = b"" if status == HTTPStatus.NO_CONTENT else json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json")]
    if status != HTTPStatus.NO_CONTENT:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def serve(bound: socket.socket) -> None:
    """Serve on this listening socket until SIGTERM."""
    server = WebServer(Echo(os.environ.get("ECHO_WEBHOOK_SECRET")), bound)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await server.start()
    _print({"event": "echo.ready", "url": server.url})
    await ended.wait()
    await server.stop()


def main() -> None:
    """Serve until SIGTERM, or until whoever started this is gone."""
    parent.end_with(int(os.environ["STACK_PID"]))
    uvloop.run(serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
