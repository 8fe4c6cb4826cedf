"""Asks a Lambda authorizer, and keeps its answer for as long as the gateway would."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hosting.template import Authorizer

_MOST = 10_000
Ask = Callable[[Sequence[str]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the caller may pass, and what the authorizer says of it. Shared by all routes while it holds."""

    allowed: bool
    context: Mapping[str, Any]


class AuthorizerFailedError(Exception):
    """The authorizer failed or answered something else than a simple response."""


class Verdicts:
    """One authorizer's answers by identity source; at most 10,000, the least recently made go first."""

    def __init__(self, authorizer: Authorizer, clock: Callable[[], float]) -> None:
        self._authorizer = authorizer
        self._clock = clock
        self._kept: OrderedDict[tuple[str, ...], tuple[float, Verdict]] = OrderedDict()

    async def of(self, identity: tuple[str, ...], ask: Ask) -> Verdict:
        """The verdict on `identity`, asked anew when the time to live is over. Raises AuthorizerFailedError."""
        kept = self._kept.get(identity)
        if kept is not None and self._clock() < kept[0]:
            return kept[1]
        verdict = _verdict(await ask(identity))
        if self._authorizer.ttl_seconds:
            self._kept[identity] = (self._clock() + self._authorizer.ttl_seconds, verdict)
            self._kept.move_to_end(identity)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return verdict


def _verdict(answer: Any) -> Verdict:
    if not isinstance(answer, dict) or not isinstance(answer.get("isAuthorized"), bool):
        raise AuthorizerFailedError("the authorizer's answer has no isAuthorized")
    return Verdict(answer["isAuthorized"], answer.get("context") or {})
