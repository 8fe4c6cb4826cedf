"""The whole stack as a person starts it: `python -m dev`, a paste of the printed line, Ctrl-C; and what goes wrong."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev import processes
from hosting import web

READY_SECONDS = 5.0
STOP_SECONDS = 5.0
BUSY = 3.0
"""The machine that runs the tests has other things to do: the figures hold on an idle one."""


class Running:
    """A stack in a process of its own, and all it has said so far."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.lines: list[str] = []
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dev", "--data", str(folder), "--echo-port", "0", "--end-with-parent", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")} | {"COLUMNS": "100"},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def said(self, pattern: str, seconds: float = 30.0) -> str:
        """Wait for a line."""
        expression = re.compile(pattern)
        found: list[str] = []

        def look() -> bool:
            found[:] = [line for line in [*self.lines] if expression.search(line)]
            return bool(found)

        assert processes.wait_until(look, seconds), f"no {pattern!r} in:\n{''.join(self.lines[-40:])}"
        return found[0]

    def ready(self) -> dict[str, Any]:
        """Wait until it says that it is, in JSON."""
        facts: dict[str, Any] = json.loads(self.said("stack.ready"))
        facts["seconds"] = time.monotonic() - self._began
        return facts

    def pids(self) -> set[int]:
        """Every process that it has ever spoken of."""
        events = [json.loads(line) for line in self.lines if line.startswith("{")]
        started = {event["pid"] for event in events if event.get("event") == "process.started"}
        ready = [event for event in events if event.get("event") == "stack.ready"]
        return started.union(*(pids for event in ready for pids in event["pids"].values()))

    def end(self, how: signal.Signals) -> tuple[int, float]:
        """Send a signal; answers the exit code and how long it took."""
        began = time.monotonic()
        self.process.send_signal(how)
        code = self.process.wait(timeout=30)
        self._reader.join(timeout=10)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code, time.monotonic() - began


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[Running]:
    stack = Running(folder, *options)
    try:
        yield stack
    finally:
        if stack.process.returncode is None:
            stack.end(signal.SIGTERM)


def _client(facts: dict[str, Any]) -> httpx.Client:
    headers = {"x-api-key": facts["api_key"]}
    return httpx.Client(base_url=facts["url"], headers=headers, timeout=20, trust_env=False)


def _received(facts: dict[str, Any], count: int, seconds: float = 20.0) -> list[dict[str, Any]]:
    with httpx.Client(base_url=facts["echo_url"], trust_env=False) as client:
        arrived = processes.wait_until(lambda: client.get("/received").json()["total"] >= count, seconds)
        assert arrived, "no delivery came"
        items: list[dict[str, Any]] = client.get("/received").json()["items"]
        return items


def test_the_printed_line_makes_a_delivery_and_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    with running(tmp_path, "--port", "0", "--json") as stack:
        facts = stack.ready()
        assert facts["seconds"] < READY_SECONDS * BUSY
        with _client(facts) as api:
            assert api.get("/health", headers={"x-api-key": ""}).json()["status"] == "ok"
            target = {"type": "http", "url": f"{facts['echo_url']}/hello"}
            made = api.post("/jobs", json={"target": target, "payload": {"hello": "world"}})
            assert made.status_code == 201
            (delivery,) = _received(facts, 1)
            assert delivery["webhook_id"] == made.json()["id"]
            assert delivery["signature"] == "valid"
            path = f"/jobs/{made.json()['id']}"
            assert processes.wait_until(lambda: api.get(path).json()["status"] == "completed", 10)
        stack.said("job.created")
        stack.said("job.ended")
        pids = stack.pids()
        assert len(pids) >= 9
        code, took = stack.end(signal.SIGTERM)
    assert code == 0
    assert took < STOP_SECONDS * BUSY
    assert [pid for pid in pids if processes.lives(pid)] == []
    assert not (tmp_path / "stack.json").exists()


@pytest.mark.timeout(180)
def test_after_a_kill_the_next_start_ends_the_orphans_and_keeps_key_and_data(tmp_path: Path) -> None:
    with running(tmp_path, "--port", "0", "--json") as stack:
        before = stack.ready()
        with _client(before) as api:
            job = api.post(
                "/jobs", json={"target": {"type": "http", "url": before["echo_url"]}, "delay_seconds": 3_600}
            )
            assert job.status_code == 201
        orphans = stack.pids()
        stack.end(signal.SIGKILL)
    with running(tmp_path, "--port", "0", "--json") as stack:
        after = stack.ready()
        assert [pid for pid in orphans if processes.lives(pid)] == []
        assert after["api_key"] == before["api_key"]
        assert after["webhook_secret"] == before["webhook_secret"]
        with _client(after) as api:
            assert [each["id"] for each in api.get("/jobs").json()["items"]] == [job.json()["id"]]
            _stores_come_back(stack, after, api)
        code, _ = stack.end(signal.SIGINT)
    assert code == 0


def _stores_come_back(stack: Running, facts: dict[str, Any], api: httpx.Client) -> None:
    for store in ("redis", "postgres"):
        os.kill(facts["pids"][store][0], signal.SIGKILL)
        stack.said(f'server.restarted.*"{store}"')
    assert processes.wait_until(lambda: api.get("/health").json()["status"] == "ok", 15)
    assert api.get("/jobs").status_code == 200


def test_a_person_gets_a_line_to_paste_and_a_second_stack_is_refused(tmp_path: Path) -> None:
    with web.bind() as taken:
        port = taken.getsockname()[1]
        with running(tmp_path, "--port", str(port)) as stack:
            line = shlex.split(stack.said("^curl "))
            assert f"Port {port} is taken" in "".join(stack.lines)
            refused = Running(tmp_path, "--port", "0")
            assert refused.process.wait(timeout=30) == 1
            assert str(stack.process.pid) in refused.said("runs in .* already")
            refused.end(signal.SIGTERM)
            url, headers, body = line[2], [part for part in line if ": " in part and not part.startswith("{")], line[-1]
            pairs = dict(header.split(": ", 1) for header in headers)
            assert httpx.post(url, headers=pairs, content=body, trust_env=False, timeout=20).status_code == 201
            stack.said("● created")
            assert "ms late" in stack.said("✔ delivered")
            stack.said("signature valid")
