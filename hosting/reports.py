"""How the parts of the stack tell the console what happens, without knowing it."""

from typing import Any, Protocol


class Reports(Protocol):
    """Where lines of functions and events of the stack itself go."""

    def line(self, source: str, line: str) -> None:
        """A line that a process wrote."""

    def event(self, name: str, **fields: Any) -> None:
        """Something that the stack itself noticed."""
