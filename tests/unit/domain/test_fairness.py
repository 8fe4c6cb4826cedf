"""The share of an executor that one merchant may fill, and how many executors there should be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.domain.fairness import saturated
from scheduler_core.domain.scaling import executors_to_invoke
from tests.builders import new_id

CAPACITY = 768


def test_a_merchant_alone_fills_three_quarters() -> None:
    merchant = new_id()
    assert saturated({merchant: 575}, CAPACITY - 575) == []
    assert saturated({merchant: 576}, CAPACITY - 576) == [merchant]


@given(st.integers(1, 4))
def test_there_is_room_for_a_newcomer_however_greedy_the_others_are(greedy: int) -> None:
    held = {new_id(): 0 for _ in range(greedy)}
    while True:
        room = CAPACITY - sum(held.values())
        blocked = set(saturated(held, room))
        free = [merchant for merchant in held if merchant not in blocked]
        if not free:
            break
        held[free[0]] += 1
    assert CAPACITY - sum(held.values()) >= 1


@pytest.mark.parametrize(
    ("due", "awake", "more"), [(0, 0, 0), (1, 0, 1), (1, 1, 0), (5_001, 1, 1), (100_000, 3, 7), (100_000, 12, 0)]
)
def test_executors_follow_the_backlog_up_to_the_cap(due: int, awake: int, more: int) -> None:
    assert executors_to_invoke(due, awake, per_executor=5_000, most=10) == more
