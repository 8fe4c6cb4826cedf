"""The share of an executor that one merchant may fill, and how many executors there should be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.domain.fairness import allowance
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
