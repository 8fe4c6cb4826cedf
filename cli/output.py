"""Where a command's answer goes: JSON on stdout for machines, Rich for people, errors always on stderr."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from cli.exits import CommandError


def _stdout() -> Console:
    return Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Output:
    """One command's way of speaking."""

    json: bool
    console: Console = field(default_factory=_stdout)

    def show[Answer](self, answer: Answer, view: Callable[[Answer], RenderableType]) -> None:
        """Print `answer`: as it is for machines, through `view` for people."""
        if self.json:
            self.line(answer)
        else:
            self.console.print(view(answer))

    def line(self, value: Any) -> None:
        """One line of JSON on stdout, at once."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def remark(self, text: str) -> None:
        """Something a person may want to know; machines are not told."""
        if not self.json:
            stderr().print(Text(text, style="dim"))


def stderr() -> Console:
    """The console for errors, progress and remarks."""
    return Console(stderr=True, highlight=False)


def report(error: CommandError, *, as_json: bool) -> None:
    """Print what went wrong on stderr."""
    if as_json:
        sys.stderr.write(json.dumps({"error": error.as_json()}, ensure_ascii=False) + "\n")
        return
    console = stderr()
    console.print(Text.assemble(("error: ", "bold red"), error.title))
    if error.detail and not error.faults:  # the faults say it all
        console.print(Text(f"  {error.detail}"))
    for place, detail in error.faults:
        console.print(Text.assemble("  ", (place or "(the whole body)", "bold"), "  ", detail))
    if error.retry_after:
        console.print(Text(f"  try again in {error.retry_after} s", style="dim"))
