"""`sam local start-api` as a process beside ours: started, waited for, read, and ended with its containers."""

import asyncio
import contextlib
import os
import re
import signal
from pathlib import Path

import httpx

from dev.echo_process import end_process
from dev.local_environment import ROOT
from dev.sam.building import ENVIRONMENT, Built
from dev.sam.steps import StepError, answer_of, environment_with
from hosting.reports import Reports
from scheduler_core.clock import monotonic

_READY_SECONDS = 180.0
_END_SECONDS = 30.0
_LOOK_SECONDS = 0.25
_LONGEST_LINE = 1_048_576
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_REQUEST = re.compile(r'"(?P<request>[A-Z]+ \S+) HTTP/[\d.]+" (?P<status>\d{3})')
_TELLING = re.compile(r"^\{|^\[ERROR\]|^Traceback|^  File |\b\w*(Error|Exception)\b|timed out")


def told(line: str) -> str | None:
    """What of a line of SAM's is worth a person's attention: requests, records of functions, what went wrong."""
    plain = _COLOUR.sub("", line).rstrip()
    if request := _REQUEST.search(plain):
        return f"{request['request']} {request['status']}"
    return plain.strip() if _TELLING.search(plain) else None


class SamGateway:
    """The API at `url`."""

    def __init__(self, built: Built, port: int, log: Path, reports: Reports) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._built = built
        self._port = port
        self._log = log
        self._reports = reports
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._before: set[str] = set()

    async def start(self, key: str) -> None:
        """Have it answer, to a caller with a key as well. Raises StepError where it does not."""
        self._before = self._containers()
        self._process = await asyncio.create_subprocess_exec(
            *self._built.command("start-api", "--port", self._port, "--warm-containers", "LAZY"),
            cwd=ROOT,
            env=environment_with(ENVIRONMENT),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
        self._reader = asyncio.create_task(self._read(self._process))
        async with httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False) as client:
            # Each function gets its container, and imports its code, at its first request: these, so that nobody has to
            # wait for that later. EAGER would start all at once, in threads of which each may make a runtime of its own
            # (SAM 1.170): what the lost one had started is used by nobody, and left running.
            await self._answers(client, "/health", {})
            await self._answers(client, "/stats", {"x-api-key": key})

    async def ended(self) -> int:
        """Wait until it ends by itself; answers its exit code."""
        assert self._process is not None  # noqa: S101 - started
        return await self._process.wait()

    async def stop(self) -> None:
        """End it, and the containers that it has started, however it ends."""
        if self._process is not None:
            await end_process(self._process, seconds=_END_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._reader is not None:
            await self._reader
        left = await asyncio.to_thread(self._containers) - self._before
        if left:
            await asyncio.to_thread(answer_of, "docker", "rm", "--force", *left, cwd=ROOT)

    async def _answers(self, client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> None:
        deadline = monotonic() + _READY_SECONDS
        said = "nothing"
        while monotonic() < deadline and self._process is not None and self._process.returncode is None:
            with contextlib.suppress(httpx.HTTPError):
                answer = await client.get(path, headers=headers)
                if answer.status_code == httpx.codes.OK:
                    return
                said = f"{answer.status_code} {answer.text[:300]}"
            await asyncio.sleep(_LOOK_SECONDS)
        tail = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
        raise StepError("\n".join([f"sam local start-api: GET {path} answers {said}", *tail]))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - started with a pipe
        with self._log.open("ab") as log:
            while True:
                try:
                    line = await process.stdout.readline()
                except ValueError:  # longer than anyone would read
                    continue
                if not line:
                    return
                log.write(line)
                log.flush()
                if (text := told(line.decode(errors="replace"))) is not None:
                    self._reports.line("sam", text)

    def _containers(self) -> set[str]:
        """SAM's containers in the stores' network."""
        mark, network = "label=sam.cli.container.type=lambda", f"network={self._built.network}"
        told = answer_of("docker", "ps", "--all", "--quiet", "--filter", mark, "--filter", network, cwd=ROOT)
        return set((told or "").split())
