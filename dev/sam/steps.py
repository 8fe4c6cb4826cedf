"""What is done one thing after the other before a system runs: shown, timed, logged, and ended with us."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from dev import processes
from dev.console import JsonConsole
from scheduler_core.clock import monotonic

_PATIENCE_SECONDS = 20.0

Environment = Mapping[str, str | None]
"""Variables beside our own; None takes one away."""


class StepError(Exception):
    """A step failed; the message ends with the last lines that it wrote."""


class Steps:
    """Runs commands. Everything that they write goes to `log`, which is emptied first.

    `told`: JSON lines for a machine instead of text for a person.
    """

    def __init__(self, log: Path, told: JsonConsole | None = None) -> None:
        self.log = log
        self._told = told
        self._out = Console(highlight=False)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show that something is done, and how long it took."""
        began = monotonic()
        if self._told is not None:
            yield
            self._told.event("sam.step", title=title, seconds=round(monotonic() - began, 2))
            return
        with self._out.status(f"{escape(title)} ..."):
            try:
                yield
            except BaseException:
                self._out.print(f"[red]✘[/] {escape(title)}")
                raise
        self._out.print(f"[green]✔[/] {escape(title)} [dim]{monotonic() - began:.1f} s[/]")

    def note(self, text: str) -> None:
        """Something that a person should know."""
        if self._told is not None:
            self._told.event("stack.notice", message=text)
        else:
            self._out.print(f"[yellow]  {escape(text)}[/]")

    def run(self, title: str, *command: object, cwd: Path, environment: Environment | None = None) -> None:
        """Run a command to its end. Raises StepError where it fails."""
        with self.step(title):
            self.quietly(*command, cwd=cwd, environment=environment, title=title)

    def quietly(
        self, *command: object, cwd: Path, environment: Environment | None = None, title: str | None = None
    ) -> None:
        """The same without a word."""
        begins = self.log.stat().st_size
        with self.log.open("ab") as sink:
            process = subprocess.Popen(
                [*map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd=cwd,
                env=environment_with(environment or {}),
                start_new_session=True,  # a Ctrl-C is ours to act on
            )
            try:
                code = process.wait()
            except BaseException:
                end_group(process)
                raise
        if code:
            with self.log.open("rb") as written:
                written.seek(begins)
                said = written.read().decode(errors="replace").splitlines()[-25:]
            raise StepError("\n".join([f"{title or command[0]}: exit code {code}", *said]))


def environment_with(changes: Environment) -> dict[str, str]:
    """Our own environment, changed."""
    return {name: value for name, value in {**os.environ, **changes}.items() if value is not None}


def answer_of(*command: object, cwd: Path, environment: Environment | None = None) -> str | None:
    """What a command that takes no time prints; None where it fails or is not there."""
    try:
        asked = subprocess.run(
            [*map(str, command)],
            cwd=cwd,
            env=environment_with(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        if processes.wait_until(lambda: process.poll() is not None, _PATIENCE_SECONDS):
            return
