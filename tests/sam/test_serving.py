"""`make sam` as a person runs it: what producers see, and that nothing is left of it afterwards."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from dev import processes
from dev.local_environment import ROOT
from dev.sam.running import Prepared
from dev.sam.steps import answer_of

_READY_SECONDS = 300.0


class Running:
    """`python -m dev.sam` in a process of its own, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.facts: dict[str, Any] = {}
        self.lines: deque[str] = deque(maxlen=60)
        self.pids: set[int] = set()
        options = ["--json", "--port", "0", "--echo-port", "0", "--data", str(folder), "--end-with-parent"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dev.sam", *options],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ready(self) -> dict[str, Any]:
        """Wait until it says so."""
        assert processes.wait_until(lambda: bool(self.facts) or self.process.poll() is not None, _READY_SECONDS)
        assert self.facts, "\n".join(self.lines)
        return self.facts

    def end(self, how: signal.Signals) -> int:
        """Its exit code, once it has ended."""
        self.process.send_signal(how)
        code = self.process.wait(timeout=90)
        self._reader.join(timeout=10)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            told = json.loads(line) if line.startswith("{") else {}
            if told.get("event") == "process.started":
                self.pids.add(told["pid"])
            elif told.get("event") == "sam.step":
                sys.stdout.write(f"  {told['title']} {told['seconds']} s\n")
            elif told.get("event") == "stack.ready":
                self.facts = told


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    system = Running(folder)
    try:
        yield system
    finally:
        if system.process.poll() is None:
            system.end(signal.SIGTERM)


def containers(network: str) -> list[str]:
    """SAM's, in a network, each with what the engine says of it."""
    mark, shape = "label=sam.cli.container.type=lambda", "{{.ID}} {{.Names}} {{.Status}} {{.CreatedAt}} {{.Command}}"
    told = answer_of(
        "docker", "ps", "-a", "--filter", mark, "--filter", f"network={network}", "--format", shape, cwd=ROOT
    )
    assert told is not None
    return told.splitlines()


def settled(network: str) -> list[str]:
    """The same, once the engine has removed what earlier invocations have left."""
    deadline = time.monotonic() + 20.0
    while len(found := containers(network)) != 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def test_producers_see_the_same_contract_under_sam_and_nothing_is_left_of_it(prepared: Prepared, folder: Path) -> None:
    network = prepared.stores.network
    with running(folder) as system:
        facts = system.ready()
        found = settled(network)
        assert len(found) == 2, "\n".join(["the API and the authorizer, and no others", *found, *system.lines])
        _the_printed_job_is_delivered(facts)
        tested = _contract(facts)
        assert tested.returncode == 0, tested.stdout[-20_000:]
        sys.stdout.write(f"  contract: {tested.stdout.strip().splitlines()[-1]}\n")
        warnings = [line for line in system.lines if '"WARNING"' in line and "executor" in line]
        assert warnings == [], "an API that cannot wake an executor has one that is awake"
        pids = set(system.pids)
        assert len(pids) >= 4
        assert system.end(signal.SIGINT) == 0
    assert containers(network) == []
    assert [pid for pid in pids if processes.lives(pid)] == []
    assert not (folder / "stack.json").exists()
    assert (folder / "sam-env.json").stat().st_mode & 0o777 == 0o600


def _the_printed_job_is_delivered(facts: dict[str, Any]) -> None:
    job = {"target": {"type": "http", "url": f"{facts['echo_url']}/hello"}, "payload": {"hello": "world"}}
    made = httpx.post(
        f"{facts['url']}/jobs", json=job, headers={"x-api-key": facts["api_key"]}, trust_env=False, timeout=30
    )
    assert made.status_code == 201, made.text
    received: list[dict[str, Any]] = []

    def arrived() -> bool:
        items = httpx.get(f"{facts['echo_url']}/received", trust_env=False).json()["items"]
        received[:] = [each for each in items if each["webhook_id"] == made.json()["id"]]
        return bool(received)

    assert processes.wait_until(arrived, 10)
    assert received[0]["signature"] == "valid"


def _contract(facts: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    told = {
        "CONTRACT_URL": facts["url"],
        "CONTRACT_DATABASE_URL": facts["database_url"],
        "CONTRACT_ECHO_URL": facts["echo_url"],
        "CONTRACT_GATEWAY": "sam",
    }
    command = [sys.executable, "-m", "pytest", "tests/contract", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True, check=False, timeout=500
    )
