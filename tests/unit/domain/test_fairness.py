"""The share of an executor that one merchant may fill, and how many executors there should be."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduler_core.domain.fairness import Turns, allowance
from scheduler_core.domain.scaling import executors_to_invoke

CAPACITY = 768


def test_a_merchant_alone_fills_three_quarters() -> None:
    assert allowance(0, CAPACITY) == 576
    assert allowance(576, CAPACITY - 576) == 0


@given(st.integers(0, CAPACITY), st.integers(0, CAPACITY))
def test_an_allowance_is_there_to_be_used_up_and_not_beyond(held: int, room: int) -> None:
    more = allowance(held, room)
    assert 0 <= more <= room
    assert allowance(held + more, room - more) == 0


@given(st.integers(1, 4))
def test_there_is_room_for_a_newcomer_however_greedy_the_others_are(greedy: int) -> None:
    held = [0] * greedy
    while any(allowance(count, CAPACITY - sum(held)) for count in held):
        for index, count in enumerate(held):
            held[index] += allowance(count, CAPACITY - sum(held))
    assert CAPACITY - sum(held) >= 1


@pytest.mark.parametrize(
    ("due", "awake", "more"), [(0, 0, 0), (1, 0, 1), (1, 1, 0), (5_001, 1, 1), (100_000, 3, 7), (100_000, 12, 0)]
)
def test_executors_follow_the_backlog_up_to_the_cap(due: int, awake: int, more: int) -> None:
    assert executors_to_invoke(due, awake, per_executor=5_000, most=10) == more


def test_a_single_thing_does_not_wait_behind_anothers_many() -> None:
    turns: Turns[str, str] = Turns()
    for number in range(500):
        turns.add("large", f"large {number}")
    taken = [turns.take() for _ in range(100)]
    turns.add("small", "small")
    taken += [turns.take(), turns.take()]
    assert taken.index("small") in {100, 101}
    assert [thing for thing in taken if thing != "small"] == [f"large {number}" for number in range(101)]


def test_turns_are_shared_by_weight() -> None:
    turns: Turns[str, str] = Turns()
    for _ in range(100):
        turns.add("heavy", "heavy", weight=3)
        turns.add("light", "light")
    assert Counter(turns.take() for _ in range(80)) == {"heavy": 60, "light": 20}


def test_nobody_saves_turns_up_for_later() -> None:
    turns: Turns[str, str] = Turns()
    turns.add("late", "late")
    for _ in range(200):
        turns.add("steady", "steady")
    for _ in range(101):
        turns.take()
    for _ in range(50):
        turns.add("late", "late")
    assert Counter(turns.take() for _ in range(20)) == {"late": 10, "steady": 10}


class Queue(RuleBasedStateMachine):
    """Turns beside plain lists, one for each owner."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: Turns[int, tuple[int, int]] = Turns()
        self.waiting: dict[int, list[tuple[int, int]]] = {}
        self.number = 0

    @rule(owner=st.integers(0, 3), weight=st.integers(1, 5))
    def one_comes(self, owner: int, weight: int) -> None:
        self.number += 1
        self.turns.add(owner, (owner, self.number), weight=weight)
        self.waiting.setdefault(owner, []).append((owner, self.number))

    @precondition(lambda self: len(self.turns) > 0)
    @rule()
    def one_is_taken(self) -> None:
        owner, number = self.turns.take()
        assert self.waiting[owner].pop(0) == (owner, number)

    @rule(divisor=st.integers(1, 4))
    def some_are_removed(self, divisor: int) -> None:
        removed = self.turns.remove(lambda thing: thing[1] % divisor == 0)
        expected = [thing for things in self.waiting.values() for thing in things if thing[1] % divisor == 0]
        assert sorted(removed) == sorted(expected)
        for owner, things in self.waiting.items():
            self.waiting[owner] = [thing for thing in things if thing[1] % divisor]

    @invariant()
    def none_is_lost(self) -> None:
        assert len(self.turns) == sum(map(len, self.waiting.values()))


TestQueue = Queue.TestCase
