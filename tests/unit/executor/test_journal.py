"""What is said of many jobs: all of it, no more than once a second."""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.journal import APART_SECONDS, MOST_GATHERED, MOST_SINGLE, Journal
from scheduler_core.delivery.parcels import Delivery
from scheduler_core.domain.outcomes import DeliveryResult, Verdict
from scheduler_core.observability.log import logger
from tests.builders import claimed_job

NOW = datetime(2026, 12, 1, tzinfo=UTC)
OUTPUT = logging.getLogger(logger.name)


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, event: str) -> list[logging.LogRecord]:
        return [record for record in self.records if record.__dict__["event"] == event]

    @property
    def completed(self) -> int:
        return sum(record.__dict__["completed"] for record in self.of("deliveries"))


@pytest.fixture(scope="module")
def lines() -> Iterator[Lines]:
    handler = Lines()
    OUTPUT.addHandler(handler)
    yield handler
    OUTPUT.removeHandler(handler)


@pytest.fixture(autouse=True)
def nothing_said(lines: Lines) -> None:
    lines.records.clear()


def done(count: int, late: Sequence[int] = (3,)) -> list[Delivery]:
    job = claimed_job(due_at=NOW)
    return [
        (job, DeliveryResult(Verdict.DONE, NOW + timedelta(milliseconds=late[each % len(late)]), NOW, 200))
        for each in range(count)
    ]


def test_the_first_batch_after_a_silence_is_told_at_once(lines: Lines) -> None:
    now = [100.0]
    journal = Journal(single_jobs=False, clock=lambda: now[0])
    journal.ended(done(3, late=[1, 5, 9]), [])
    [told] = lines.of("deliveries")
    assert (told.__dict__["completed"], told.__dict__["late_p50_ms"], told.__dict__["late_max_ms"]) == (3, 5.0, 9.0)
    assert journal.seconds_left() is None


def test_what_comes_within_a_second_is_one_line_at_its_end(lines: Lines) -> None:
    now = [100.0]
    journal = Journal(single_jobs=False, clock=lambda: now[0])
    journal.ended(done(1), [])
    for late in (2, 8, 4):
        now[0] += 0.25
        journal.ended(done(10, late=[late]), [])
        assert journal.seconds_left() == pytest.approx(101.0 - now[0])
    assert len(lines.of("deliveries")) == 1
    now[0] = 101.0
    assert journal.seconds_left() == 0
    journal.tell()
    told = lines.of("deliveries")[1].__dict__
    assert (told["completed"], told["late_p50_ms"], told["late_max_ms"]) == (30, 4.0, 8.0)


def test_what_is_gathered_has_a_bound(lines: Lines) -> None:
    journal = Journal(single_jobs=False, clock=lambda: 100.0)
    journal.ended(done(1), [])
    journal.ended(done(MOST_GATHERED), [])
    assert [record.__dict__["completed"] for record in lines.of("deliveries")] == [1, MOST_GATHERED]


def test_few_single_jobs_are_told_one_by_one_and_of_many_their_number_too(lines: Lines) -> None:
    journal = Journal(single_jobs=True, clock=lambda: 100.0)
    journal.ended(done(MOST_SINGLE), [])
    assert (len(lines.of("job.ended")), lines.of("deliveries")) == (MOST_SINGLE, [])
    assert journal.seconds_left() is None
    journal.ended(done(MOST_SINGLE + 1), [])
    assert (len(lines.of("job.ended")), lines.completed) == (2 * MOST_SINGLE, MOST_SINGLE + 1)


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 0.7)), max_size=30))
def test_every_job_is_told_of_once_and_lines_are_a_second_apart(batches: list[tuple[int, float]]) -> None:
    lines, now, told_at = Lines(), [100.0], []
    OUTPUT.addHandler(lines)
    try:
        journal = Journal(single_jobs=False, clock=lambda: now[0])
        for count, passed in batches:
            before = len(lines.records)
            journal.ended(done(count), [])
            told_at += [now[0]] * (len(lines.records) - before)
            now[0] += passed
        journal.tell()
        journal.tell()
        assert lines.completed == sum(count for count, _ in batches)
        assert all(later - earlier >= APART_SECONDS for earlier, later in pairwise(told_at))
        assert journal.seconds_left() is None
    finally:
        OUTPUT.removeHandler(lines)
