"""What follows from an answer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.domain.jobs import MAX_RESCUES, AttemptOutcome
from scheduler_core.domain.lifecycle import JobStatus, ScheduleType
from scheduler_core.domain.outcomes import (
    AskAgain,
    Complete,
    DeliveryResult,
    Expire,
    Fail,
    Retry,
    Verdict,
    decide,
    record,
    released,
    rescued,
    verdict_of_status,
)
from tests.builders import NOW, running_job, seconds


def result(verdict: Verdict, **more: Any) -> DeliveryResult:
    return DeliveryResult(verdict, NOW, NOW, **more)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DONE),
        (204, Verdict.DONE),
        (202, Verdict.NOT_YET),
        (301, Verdict.PERMANENT),
        (304, Verdict.PERMANENT),
        (400, Verdict.PERMANENT),
        (404, Verdict.PERMANENT),
        (408, Verdict.RETRYABLE),
        (410, Verdict.GONE),
        (425, Verdict.RETRYABLE),
        (429, Verdict.RETRYABLE),
        (500, Verdict.RETRYABLE),
        (503, Verdict.RETRYABLE),
        (599, Verdict.RETRYABLE),
    ],
)
def test_statuses_have_verdicts(status: int, verdict: Verdict) -> None:
    assert verdict_of_status(status) is verdict


def test_done_completes() -> None:
    assert decide(NOW, running_job(), result(Verdict.DONE), 0.5) == Complete()


def test_not_yet_completes_a_job_that_is_not_polling() -> None:
    assert decide(NOW, running_job(), result(Verdict.NOT_YET), 0.5) == Complete()


def test_not_yet_asks_a_polling_target_again_after_its_interval() -> None:
    job = running_job(schedule_type=ScheduleType.POLLING, interval_seconds=20, max_attempts=3)
    assert decide(NOW, job, result(Verdict.NOT_YET), 0.5) == AskAgain(NOW + seconds(20))


def test_a_polling_target_is_asked_at_most_max_attempts_times() -> None:
    job = running_job(schedule_type=ScheduleType.POLLING, interval_seconds=20, max_attempts=3, polls=2)
    assert decide(NOW, job, result(Verdict.NOT_YET), 0.5) == Fail("the target was asked 3 times and is still not done")


def test_a_retryable_failure_is_tried_again_with_full_jitter() -> None:
    job = running_job(retries=2)
    assert decide(NOW, job, result(Verdict.RETRYABLE, error="boom"), 0.5) == Retry(NOW + seconds(2), "boom")


def test_retry_after_is_honoured_up_to_the_cap() -> None:
    job = running_job(retry_max_seconds=60.0)
    asked = result(Verdict.RETRYABLE, http_status=429, retry_after_seconds=500.0)
    assert decide(NOW, job, asked, 0.0) == Retry(NOW + seconds(60), "the target answered 429")


def test_exhausted_retries_are_a_dead_letter() -> None:
    assert isinstance(decide(NOW, running_job(retries=3), result(Verdict.RETRYABLE), 0.5), Fail)


@pytest.mark.parametrize("verdict", [Verdict.PERMANENT, Verdict.GONE])
def test_a_permanent_failure_is_not_tried_again(verdict: Verdict) -> None:
    assert decide(NOW, running_job(), result(verdict, error="no"), 0.5) == Fail("no")


def test_a_retry_after_expiry_expires_instead() -> None:
    job = running_job(expires_at=NOW + seconds(1), retries=2)
    assert isinstance(decide(NOW, job, result(Verdict.RETRYABLE), 0.9), Expire)


def test_a_long_error_is_cut() -> None:
    decision = decide(NOW, running_job(), result(Verdict.PERMANENT, error="x" * 9_999), 0.5)
    assert isinstance(decision, Fail)
    assert len(decision.error) == 1_000


@given(st.sampled_from(Verdict), st.integers(0, 5), st.integers(0, 5), st.sampled_from(ScheduleType), st.booleans())
def test_a_record_waits_exactly_when_it_has_a_next_run(
    verdict: Verdict, retries: int, polls: int, kind: ScheduleType, expires: bool
) -> None:
    job = running_job(
        retries=retries,
        polls=polls,
        schedule_type=kind,
        max_attempts=3,
        expires_at=NOW + seconds(1) if expires else None,
    )
    answer = result(verdict)
    written = record(job, decide(NOW, job, answer, 0.5), answer)
    assert (written.next_run_at is not None) == (written.status in {JobStatus.PENDING, JobStatus.RETRYING})
    assert written.retries <= job.max_retries or written.retries == job.retries


def test_a_lost_executor_spends_a_rescue_and_no_retry() -> None:
    written = rescued(NOW, running_job(max_retries=0), 0.5)
    assert (written.status, written.outcome) == (JobStatus.RETRYING, AttemptOutcome.LOST)
    assert (written.rescues, written.retries) == (1, 0)


def test_a_job_that_kills_its_executors_fails_in_the_end() -> None:
    assert rescued(NOW, running_job(rescues=MAX_RESCUES), 0.5).status is JobStatus.FAILED


def test_a_lost_job_past_its_expiry_expires() -> None:
    assert rescued(NOW, running_job(expires_at=NOW), 0.5).status is JobStatus.EXPIRED


def test_a_released_job_runs_again_at_once_and_spends_nothing() -> None:
    written = released(NOW, running_job(retries=1, rescues=2), "time is up")
    assert (written.status, written.next_run_at) == (JobStatus.RETRYING, NOW)
    assert (written.retries, written.rescues) == (1, 2)
