"""A real HTTP receiver on the loopback: its paths say how it behaves, and it remembers what came and when.

`/ok`, `/status/503`, `/slow/1.5` (seconds), `/fail-first/2` (503 that often for one webhook-id), `/poll/2` (202 that
often), and Lambda's Invoke API, which answers 202.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request."""

    at: datetime
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Receiver:
    """What came in, and where to send more."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    lambda_answers: list[int] = field(default_factory=list)
    """What Lambda's Invoke API answers, one after another; 202 once they are used up."""
    _times: Counter[str] = field(default_factory=Counter)

    def invoked(self) -> list[str]:
        """The functions whose invocation was asked for."""
        return [unquote(r.path.split("/")[3]) for r in self.received if r.path.startswith("/2015-03-31/")]

    def deliveries(self) -> list[Received]:
        """Everything else."""
        return [r for r in self.received if not r.path.startswith("/2015-03-31/")]

    def wait_for(self, count: int, seconds: float = 10) -> list[Received]:
        """The deliveries, once there are `count`."""
        deadline = time.monotonic() + seconds
        while len(self.deliveries()) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(self.deliveries())} of {count} deliveries after {seconds} s")
            time.sleep(0.005)
        return self.deliveries()

    def answer(self, request: Received) -> tuple[int, dict[str, str]]:
        """Status and headers."""
        kind, _, value = request.path.lstrip("/").partition("?")[0].partition("/")
        known = request.headers.get("webhook-id", "")
        self._times[known] += 1
        match kind:
            case "status":
                return int(value), {"Retry-After": "0"} if int(value) in {429, 503} else {}
            case "slow":
                time.sleep(float(value))
            case "fail-first":
                return (503, {"Retry-After": "0"}) if self._times[known] <= int(value) else (200, {})
            case "poll":
                return (202, {}) if self._times[known] <= int(value) else (200, {})
            case "2015-03-31":
                return (self.lambda_answers.pop(0) if self.lambda_answers else 202), {}
        return 200, {}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver for as long as the context lasts."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _take(self) -> None:
            at = datetime.fromtimestamp(time.time_ns() / 1e9, UTC)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(at=at, method=self.command, path=self.path, headers=headers, body=body)
            receiver.received.append(request)
            status, more = receiver.answer(request)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _take  # noqa: N815 - the base class calls them so

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is none of our business."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
