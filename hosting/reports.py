"""How the parts of the stack tell the console what happens, without knowing it."""

import json
import sys
from typing import Any, Protocol, TextIO

from scheduler_core.clock import utc_now


class Reports(Protocol):
    """Where lines of functions and events of the stack itself go."""

    def line(self, source: str, line: str) -> None:
        """A line that a process wrote."""

    def event(self, name: str, **fields: Any) -> None:
        """Something that the stack itself noticed."""


class JsonLines:
    """One JSON object a line: the functions' own as they are, everything else wrapped."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def line(self, source: str, line: str) -> None:
        if line.startswith("{") and line.endswith("}"):
            self._write(line)
        elif line:
            self.event("log", source=source, line=line)

    def event(self, name: str, **fields: Any) -> None:
        self._write(json.dumps({"event": name, "time": utc_now().isoformat(), **fields}, default=str))

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()
