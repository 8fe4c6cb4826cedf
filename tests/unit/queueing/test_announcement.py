"""What is said of hints: each once and under its merchant, in the queue if it is due, else with what is to come."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.domain.ids import milliseconds, milliseconds_up
from scheduler_core.domain.jobs import Hint
from scheduler_core.queueing.announcement import (
    ANNOUNCE_PAGE,
    BUNDLE_LEAST,
    BUNDLE_MOST,
    PRIORITY_STEP,
    announcement,
    announcement_of_groups,
)
from tests.builders import NOW, grouped, new_id, seconds

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


def told(page: Sequence[int | str]) -> tuple[int | str, dict[int | str, tuple[list[tuple[int, str]], ...]]]:
    """Which says the same in any order."""
    earliest, *said = page
    queues = (tuple(sorted(pairs(entries)) for entries in both) for both in zip(said[1::3], said[2::3], strict=True))
    return earliest, dict(zip(said[::3], queues, strict=True))


def check(page: Sequence[int | str], hints: Sequence[Hint]) -> None:
    earliest, *said = page
    assert earliest == min(milliseconds_up(hint.due_at) for hint in hints)
    expected: dict[str, tuple[list[tuple[int, str]], list[tuple[int, str]]]] = {}
    for hint in hints:
        due = milliseconds_up(hint.due_at)
        ready, later = expected.setdefault(hint.merchant_id.hex, ([], []))
        if due > milliseconds(NOW):
            later.append((due, member(hint)))
        else:
            ready.append(((100 - hint.priority) * PRIORITY_STEP + due, member(hint)))
    queues, to_come = map(pairs, said[1::3]), map(pairs, said[2::3])
    assert dict(zip(map(str, said[::3]), zip(queues, to_come, strict=True), strict=True)) == expected


@given(HINTS)
def test_every_hint_is_said_once_where_it_belongs(hints: list[Hint]) -> None:
    said = announcement(NOW, hints)
    assert said.now_ms == milliseconds(NOW)
    (page,) = said.pages
    check(page, hints)


@given(
    st.lists(HINTS, max_size=6).map(lambda lists: [*{hint.job_id: hint for each in lists for hint in each}.values()]),
    st.booleans(),
)
def test_what_is_bundled_says_the_same(hints: list[Hint], same_merchant: bool) -> None:
    """A bundle is many jobs of one merchant and priority in due order, and stands where the first of them would."""
    if same_merchant:
        hints = [hint._replace(merchant_id=UUID(int=1), priority=hint.priority // 50) for hint in hints]
    hints.sort(key=lambda hint: hint.due_at)
    opened = [list(page) for page in announcement_of_groups(NOW, grouped(hints), bundled=True).pages]
    for page in opened:
        for place in range(2, len(page), 3):
            singles: list[tuple[int, str]] = []
            for score, entry in pairs(page[place]):
                of_merchant, (jobs, priority) = entry[:32], entry[32:].split(":")
                ids = [jobs[at : at + 32] for at in range(0, len(jobs), 32)]
                assert len(ids) == 1 or BUNDLE_LEAST <= len(ids) <= BUNDLE_MOST
                due = {hint.job_id.hex: milliseconds_up(hint.due_at) for hint in reversed(hints)}
                assert len(ids) == 1 or score == (100 - int(priority)) * PRIORITY_STEP + due[ids[0]]
                singles += [
                    ((100 - int(priority)) * PRIORITY_STEP + due[each], f"{of_merchant}{each}:{priority}")
                    for each in ids
                ]
            page[place] = json.dumps([word for score, entry in singles for word in (str(score), entry)])
    assert [*map(told, opened)] == [*map(told, announcement(NOW, hints).pages)]


def test_many_hints_are_said_page_by_page() -> None:
    hints = [Hint(new_id(), new_id(), NOW, 0) for _ in range(2 * ANNOUNCE_PAGE + 1)]
    pages = announcement(NOW, hints).pages
    assert len(pages) == 3
    for number, page in enumerate(pages):
        check(page, hints[number * ANNOUNCE_PAGE :][:ANNOUNCE_PAGE])


def test_of_no_hints_nothing_is_said() -> None:
    assert announcement(NOW, []).pages == []
