"""The authorizer's answers are kept as the gateway would keep them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from hosting.authorization import AuthorizerFailedError, Verdicts
from hosting.template import Authorizer


class _Gate:
    """Counts how often it is asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, ...]] = []

    async def __call__(self, identity: Sequence[str]) -> Any:
        self.asked.append(tuple(identity))
        return self.answer


def _verdicts(clock: list[float], ttl_seconds: int = 60) -> Verdicts:
    authorizer = Authorizer(name="Gate", function="gate", headers=("x-api-key",), ttl_seconds=ttl_seconds)
    return Verdicts(authorizer, lambda: clock[0])


def test_an_answer_holds_for_its_time_to_live_and_is_then_asked_again() -> None:
    clock, gate = [0.0], _Gate({"isAuthorized": True, "context": {"merchant": "m"}})
    verdicts = _verdicts(clock)

    async def scenario() -> None:
        for moment in (0.0, 59.9, 60.1):
            clock[0] = moment
            verdict = await verdicts.of(("a",), gate)
            assert verdict.allowed
            assert verdict.context == {"merchant": "m"}

    asyncio.run(scenario())
    assert gate.asked == [("a",), ("a",)]


def test_a_refusal_is_kept_as_well_and_identities_are_kept_apart() -> None:
    gate = _Gate({"isAuthorized": False})
    verdicts = _verdicts([0.0])

    async def scenario() -> None:
        for identity in ("a", "b", "a"):
            assert not (await verdicts.of((identity,), gate)).allowed

    asyncio.run(scenario())
    assert gate.asked == [("a",), ("b",)]


def test_a_time_to_live_of_nothing_keeps_nothing() -> None:
    gate = _Gate({"isAuthorized": True})
    verdicts = _verdicts([0.0], ttl_seconds=0)

    async def scenario() -> None:
        await verdicts.of(("a",), gate)
        await verdicts.of(("a",), gate)

    asyncio.run(scenario())
    assert len(gate.asked) == 2


@pytest.mark.parametrize("answer", [None, {}, {"isAuthorized": "yes"}, {"principalId": "x", "policyDocument": {}}])
def test_what_is_no_simple_response_fails_and_is_not_kept(answer: Any) -> None:
    gate = _Gate(answer)
    verdicts = _verdicts([0.0])

    async def scenario() -> None:
        for _ in range(2):
            with pytest.raises(AuthorizerFailedError):
                await verdicts.of(("a",), gate)

    asyncio.run(scenario())
    assert len(gate.asked) == 2
