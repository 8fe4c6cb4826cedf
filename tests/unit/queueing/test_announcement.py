"""What is said of hints: each once, in its merchant's queue if it is due and in the due set if it is not."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.domain.ids import milliseconds, milliseconds_up
from scheduler_core.domain.jobs import Hint
from scheduler_core.queueing.ready_set import ANNOUNCE_PAGE, PRIORITY_STEP, announcement
from tests.builders import NOW, new_id, seconds

IDS = st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number))
DUE = st.integers(-3_000, 3_000).map(lambda microseconds: NOW + seconds(microseconds / 1_000_000))
HINTS = st.lists(
    st.builds(Hint, st.sampled_from([new_id(), new_id(), UUID(int=1)]), IDS, DUE, st.integers(-100, 100)),
    min_size=1,
    max_size=30,
)


def pairs(entries: Any) -> list[tuple[int, str]]:
    """(score, member) pairs."""
    words = json.loads(entries)
    return [(int(score), member) for score, member in zip(words[::2], words[1::2], strict=True)]


def member(hint: Hint) -> str:
    return f"{hint.merchant_id.hex}{hint.job_id.hex}:{hint.priority}"


def check(page: Sequence[int | str], hints: Sequence[Hint]) -> None:
    earliest, later, *queues = page
    assert earliest == min(milliseconds_up(hint.due_at) for hint in hints)
    to_come = [hint for hint in hints if milliseconds_up(hint.due_at) > milliseconds(NOW)]
    assert pairs(later) == [(milliseconds_up(hint.due_at), member(hint)) for hint in to_come]
    expected: dict[str, list[tuple[int, str]]] = {}
    for hint in hints:
        if hint not in to_come:
            score = (100 - hint.priority) * PRIORITY_STEP + milliseconds_up(hint.due_at)
            expected.setdefault(hint.merchant_id.hex, []).append((score, member(hint)))
    assert dict(zip(map(str, queues[::2]), map(pairs, queues[1::2]), strict=True)) == expected


@given(HINTS)
def test_every_hint_is_said_once_where_it_belongs(hints: list[Hint]) -> None:
    said = announcement(NOW, hints)
    assert said.now_ms == milliseconds(NOW)
    (page,) = said.pages
    check(page, hints)


def test_many_hints_are_said_page_by_page() -> None:
    hints = [Hint(new_id(), new_id(), NOW, 0) for _ in range(2 * ANNOUNCE_PAGE + 1)]
    pages = announcement(NOW, hints).pages
    assert len(pages) == 3
    for number, page in enumerate(pages):
        check(page, hints[number * ANNOUNCE_PAGE :][:ANNOUNCE_PAGE])


def test_of_no_hints_nothing_is_said() -> None:
    assert announcement(NOW, []).pages == []
