"""The stack's data folder: one stack at a time, and what is needed to find one that was killed."""

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dev import processes
from dev.processes import ServerError

_OURS = ("hosting.runtime", "dev.echo")


class DataFolder:
    """Where a stack keeps its data, usually `.data`; made with mode 0755, what is secret in it with 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._pids = self.path / "processes"
        self._told = self.path / "stack.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder. The kernel lets go of it with us, however we end. Raises ServerError if it is held."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                raise ServerError(
                    f"a stack runs in {self.path} already (process {holder}): stop that one first"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            try:
                yield
            finally:
                self._told.unlink(missing_ok=True)

    def end_orphans(self) -> int:
        """End the functions' processes of a stack that was killed; answers how many there were."""
        ended = 0
        with contextlib.suppress(FileNotFoundError):
            for line in self._pids.read_text(encoding="utf-8").split():
                command = processes.command_of(int(line))
                # The number may meanwhile be a stranger's.
                if any(module in command for module in _OURS):
                    processes.end(int(line), signal.SIGKILL)
                    ended += 1
        self._pids.write_text("", encoding="utf-8")
        return ended

    def note_process(self, pid: int) -> None:
        """Remember a process, for the start after a crash."""
        with self._pids.open("a", encoding="utf-8") as file:
            file.write(f"{pid}\n")

    def tell(self, facts: dict[str, Any]) -> None:
        """Leave what other commands need to find the running stack, in `stack.json`, for our user only."""
        written = self._told.with_suffix(".new")
        written.unlink(missing_ok=True)
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(facts, file)
        written.rename(self._told)
