"""A stand-in for the API that holds to the contract's shapes, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from typer.testing import CliRunner, Result

from cli.main import app


@dataclass(slots=True)
class Asked:
    """One request as the stub received it."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass(slots=True)
class StubApi:
    """Answers by `(method, path)`; a list is given out one by one and its last one for ever."""

    url: str = ""
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def on(self, method: str, path: str, *answers: tuple[int, Any] | tuple[int, Any, dict[str, str]]) -> None:
        self.answers[method, path] = list(answers)

    def next(self, method: str, path: str) -> tuple[int, Any, dict[str, str]]:
        waiting = self.answers.get((method, path), [(404, {"title": "There is nothing here", "status": 404})])
        status, body, *headers = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return status, body, headers[0] if headers else {}

    def run(self, *args: str, key: str | None = "ts_test_key", **options: Any) -> Result:
        env = {"SCHEDULER_URL": self.url, "SCHEDULER_API_KEY": key, "COLUMNS": "80"}
        return CliRunner(env=env).invoke(app, list(args), **options)


@contextmanager
def serving() -> Iterator[StubApi]:
    """A stub that listens on a port of its own."""
    stub = StubApi()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            raw = self.rfile.read(length)
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(raw) if raw else None
            stub.asked.append(Asked(self.command, parts.path, parse_qs(parts.query), headers, body))
            status, answer, more = stub.next(self.command, parts.path)
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(content)),
                **more,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield stub
        server.shutdown()
        thread.join()
