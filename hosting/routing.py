"""Finds the route of a request as an HTTP API does: an exact path first, then one with parameters."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hosting.template import Route


@dataclass(frozen=True, slots=True)
class Match:
    """A route, and what stands in the places of its parameters."""

    route: Route
    parameters: Mapping[str, str]


class Routes:
    """All routes of a template."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._exact = {(r.method, r.path): r for r in routes if "{" not in r.path}
        self._patterns = [(re.compile(_pattern(r.path)), r) for r in routes if "{" in r.path]

    def match(self, method: str, path: str) -> Match | None:
        """The route of a request; None where there is none."""
        if route := self._exact.get((method, path)):
            return Match(route, {})
        for pattern, route in self._patterns:
            if route.method in (method, "ANY") and (found := pattern.fullmatch(path)):
                return Match(route, found.groupdict())
        return None

    def methods_of(self, path: str) -> list[str]:
        """The methods that a path has, in alphabetical order."""
        exact = {method for method, known in self._exact if known == path}
        return sorted(exact | {route.method for pattern, route in self._patterns if pattern.fullmatch(path)})


def _pattern(path: str) -> str:
    parts = re.split(r"(\{\w+\+?\})", path)
    return "".join(_group(part) if part.startswith("{") else re.escape(part) for part in parts)


def _group(part: str) -> str:
    name = part.strip("{}+")
    return f"(?P<{name}>.+)" if part.endswith("+}") else f"(?P<{name}>[^/]+)"
