"""`python -m hosting` as a container runs it: real processes, the real template, real stores."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from hosting import web
from tests.conftest import ROOT


def free_port() -> int:
    with web.bind() as bound:
        return int(bound.getsockname()[1])


@contextmanager
def part(name: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """One part, killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hosting", name],
        cwd=ROOT,
        env={**{k: v for k, v in os.environ.items() if k in ("PATH", "HOME")}, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    out, _ = process.communicate(timeout=30)
    return [json.loads(line) for line in out.splitlines()]


def answer(url: str, seconds: float = 30) -> httpx.Response:
    """What it answers, once it does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return httpx.get(url, timeout=10, trust_env=False)
        except httpx.HTTPError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.1)


def stores(database_url: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "SIGNING_KEY": "k" * 32}


def test_what_is_missing_is_named_and_what_was_given_is_not() -> None:
    with part("migrate") as process:
        (line,) = told(process)
        assert process.returncode == 2
    assert line["event"] == "settings.wrong"
    assert list(line["settings"]) == ["DATABASE_URL"]
    with part("gateway", GATEWAY_PORT="s3cret") as process:
        (line,) = told(process)
    assert list(line["settings"]) == ["GATEWAY_PORT"]
    assert "s3cret" not in json.dumps(line)


def test_a_port_that_is_taken_is_said() -> None:
    with web.bind() as taken, part("workers", INVOKE_PORT=str(taken.getsockname()[1])) as process:
        lines = told(process)
        assert process.returncode == 1
    assert [line["event"] for line in lines] == ["workers.failed"]


def test_the_gateway_serves_and_ends_with_sigterm(database_url: str, redis_url: str) -> None:
    port = free_port()
    with part("gateway", GATEWAY_PORT=str(port), **stores(database_url, redis_url)) as process:
        assert answer(f"http://127.0.0.1:{port}/health").json()["status"] == "ok"
        assert answer(f"http://127.0.0.1:{port}/jobs").status_code == 401
        process.send_signal(signal.SIGTERM)
        events = [line.get("event") for line in told(process)]
        assert process.returncode == 0
    assert events.count("gateway.ready") == events.count("gateway.ending") == 1
    assert events.count("request") == 1


def test_workers_fire_the_schedules_and_say_when_their_functions_fail(database_url: str, redis_url: str) -> None:
    port = free_port()
    with part("workers", INVOKE_PORT=str(port), **stores(database_url, redis_url)) as process:
        url = f"http://127.0.0.1:{port}"
        assert answer(f"{url}/health").json() == {"status": "ok", "ticks": True, "failing": []}
        path = f"{url}/2015-03-31/functions/recurrence/invocations"
        assert httpx.post(path, json={}, timeout=30, trust_env=False).status_code == 200
        assert httpx.post(path.replace("recurrence", "api"), json={}, timeout=30, trust_env=False).status_code == 404
        process.send_signal(signal.SIGTERM)
        ran = {line["function"] for line in told(process) if line.get("event") == "process.started"}
        assert process.returncode == 0
    assert ran == {"executor", "populator", "recurrence", "watcher"}


def test_workers_without_a_database_are_not_healthy(redis_url: str) -> None:
    port = free_port()
    nowhere = stores(f"postgresql://nobody@127.0.0.1:{free_port()}/none", redis_url)
    with part("workers", INVOKE_PORT=str(port), **nowhere) as process:
        deadline = time.monotonic() + 40
        while not {"populator", "watcher"} <= set(
            (health := answer(f"http://127.0.0.1:{port}/health")).json()["failing"]
        ):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert (health.status_code, health.json()["status"]) == (503, "failing")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
