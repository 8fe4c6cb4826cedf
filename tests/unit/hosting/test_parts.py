"""The small parts of self-hosting, each alone."""

import asyncio
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from hosting import health, migrating, web
from hosting.access_log import AccessLog
from hosting.reports import JsonLines
from scheduler_core.domain.errors import DatabaseUnavailableError, MigrationError


class Told(JsonLines):
    """What was reported, as objects."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        super().__init__(self.out)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


# Access log ----------------------------------------------------------------------------------------------------------


def call(path: str, status: int, query: str = "key=secret") -> list[dict[str, Any]]:
    told, sent = Told(), []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"apigw-requestid", b"abc")]})
        await send({"type": "http.response.body", "body": b"payload"})

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {"method": "GET", "path": path, "query_string": query.encode(), "client": ("10.0.0.9", 5), "headers": []}
    asyncio.run(AccessLog(application, told)(scope, lambda: asyncio.sleep(0), send))  # type: ignore[arg-type,return-value] # the least of ASGI
    assert sent == ["http.response.start", "http.response.body"]
    return told.lines()


def test_a_request_is_one_line_without_query_or_body() -> None:
    (line,) = call("/jobs/1", 404)
    assert line.pop("took_ms") >= 0
    assert line.pop("time")
    seen = [line[name] for name in ("event", "method", "path", "status", "client", "request_id")]
    assert seen == ["request", "GET", "/jobs/1", 404, "10.0.0.9", "abc"]
    assert len(line) == len(seen)


def test_a_probe_is_worth_a_line_only_when_it_fails() -> None:
    assert call("/health", 200) == []
    assert [line["status"] for line in call("/health", 503)] == [503]


def test_a_path_has_a_bound() -> None:
    assert len(call("/" + "x" * 5_000, 404)[0]["path"]) == 200


# Health check --------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path.strip("/")))
            self.end_headers()
            self.wfile.write(b'{"status": "some"}')

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    serving = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    thread.join()
    serving.server_close()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_only_a_200_is_healthy(
    server: str, status: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["health", f"{server}/{status}"])
    assert health.main() == code
    assert capsys.readouterr().out == f'{status} {{"status": "some"}}\n'


def test_nobody_there_is_not_healthy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with web.bind() as bound:
        port = bound.getsockname()[1]
    monkeypatch.setattr(sys, "argv", ["health", f"http://127.0.0.1:{port}/health"])
    assert health.main() == 1
    assert "ConnectionRefusedError" in capsys.readouterr().out


def test_the_check_imports_nothing_that_takes_time() -> None:
    code = "import sys, hosting.health; print(*{'asyncio', 'pydantic', 'uvicorn'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""


# Listening -----------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_an_error_and_not_another_port() -> None:
    with web.bind() as taken, pytest.raises(OSError, match="in use"):
        web.listen("127.0.0.1", taken.getsockname()[1])


def test_an_address_of_version_6_is_understood() -> None:
    refusal = refusal_of_version_6()
    if refusal is None:
        with web.listen("::1", 0) as bound:
            assert bound.family is socket.AF_INET6
    else:
        with pytest.raises(OSError, match=rf"\[Errno {refusal}\]"):
            web.listen("::1", 0)


def refusal_of_version_6() -> int | None:
    """The error of a machine without IPv6, which is ours too then."""
    try:
        with socket.socket(socket.AF_INET6) as plain:
            plain.bind(("::1", 0))
    except OSError as error:
        return error.errno
    return None


# Migrations ----------------------------------------------------------------------------------------------------------


def migrate(monkeypatch: pytest.MonkeyPatch, *outcomes: object) -> tuple[int, list[dict[str, Any]], int]:
    """Answers the exit code, what was told, and how often it paused."""
    left, told = list(outcomes), Told()
    pauses: list[float] = []

    def apply(url: str, directory: Path) -> object:
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    clock = iter(range(1_000))
    monkeypatch.setattr(migrating, "apply_migrations", apply)
    monkeypatch.setattr(migrating, "monotonic", lambda: float(next(clock)))
    code = migrating.migrate("postgresql://x", Path(), told, wait_seconds=5, sleep=pauses.append)
    return code, told.lines(), len(pauses)


def test_a_database_that_starts_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    away = DatabaseUnavailableError("cannot connect")
    code, told, pauses = migrate(monkeypatch, away, away, ["001.sql"])
    assert (code, pauses) == (0, 2)
    assert [(line["event"], line["applied"]) for line in told] == [("migrated", ["001.sql"])]


def test_a_database_that_stays_away_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    code, told, pauses = migrate(monkeypatch, DatabaseUnavailableError("cannot connect"))
    assert code == 1
    assert pauses >= 3
    assert [line["event"] for line in told] == ["migration.failed"]


def test_a_migration_that_fails_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    code, told, pauses = migrate(monkeypatch, MigrationError("001.sql: syntax"))
    assert (code, pauses) == (1, 0)
    assert told[0]["error"] == "001.sql: syntax"
