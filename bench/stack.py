"""A stack of the benchmark's own: `python -m dev` in another process, on free ports, with a data folder of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cli.client import ApiAddress
from cli.exits import CommandError, ExitCode

_READY_SECONDS: Final = 60.0
_END_SECONDS: Final = 20.0


class StackProcess:
    """What the stack's JSON lines say: where it is, and which processes run its functions."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._ready = threading.Event()
        self.facts: dict[str, Any] = {}
        """What the stack says once it is ready: `url`, `api_key`, `echo_url`, `database_url`, `signing_key`, ..."""
        self._pids: defaultdict[str, set[int]] = defaultdict(set)
        self._last_lines: deque[str] = deque(maxlen=20)
        options = ["--json", "--port", "0", "--echo-port", "0", "--data", str(folder), "--end-with-parent"]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "dev", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,  # a Ctrl-C is for the benchmark, which ends the stack itself
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> None:
        """Raises CommandError where it does not start."""
        if not self._ready.wait(_READY_SECONDS) or not self.facts:
            told = "\n".join(self._last_lines)
            raise CommandError(ExitCode.UNAVAILABLE, "The stack does not start.", told or None)

    @property
    def address(self) -> ApiAddress:
        return ApiAddress(url=self.facts["url"], key=self.facts["api_key"])

    def processes_of(self, function: str) -> list[int]:
        """The processes that run a function now."""
        return sorted(self._pids[function])

    def stop(self) -> None:
        """End it and all that it started."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(timeout=_END_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe above
        for line in self._process.stdout:
            self._last_lines.append(line.rstrip())
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                if isinstance(told, dict):
                    self._note(told)
        self._ready.set()  # it has ended: nobody needs to wait any longer

    def _note(self, told: dict[str, Any]) -> None:
        match told.get("event"):
            case "process.started":
                self._pids[told["function"]].add(told["pid"])
            case "process.ended":
                self._pids[told["function"]].discard(told["pid"])
            case "stack.ready":
                self.facts = told
                self._ready.set()


@contextlib.contextmanager
def own_stack(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[StackProcess]:
    """A stack for the time of the block. Raises CommandError where it does not start."""
    stack = StackProcess(folder, environment or {})
    try:
        stack.wait_until_ready()
        yield stack
    finally:
        stack.stop()
