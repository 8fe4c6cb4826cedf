"""What follows from an attempt: a pure decision over what the target said and what the producer allowed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, assert_never

from scheduler_core.domain.backoff import next_attempt_at
from scheduler_core.domain.jobs import (
    MAX_ERROR_CHARACTERS,
    MAX_RESCUES,
    AttemptOutcome,
    AttemptRecord,
    RunningJob,
)
from scheduler_core.domain.lifecycle import Event, JobStatus, ScheduleType, after

RETRYABLE_STATUSES = frozenset({408, 425, 429})
DEFAULT_POLL_SECONDS = 60
DEFAULT_MAX_ATTEMPTS = 100


class Verdict(StrEnum):
    """What kind of answer a delivery got."""

    DONE = "done"
    NOT_YET = "not_yet"
    RETRYABLE = "retryable"
    PERMANENT = "permanent"
    GONE = "gone"
    """410: permanent, and the template that made the job is paused."""
    EXPIRED = "expired"
    """It was not sent: its time had passed."""


class DeliveryResult(NamedTuple):
    """What came back from the target, by the adapter that spoke to it."""

    verdict: Verdict
    started_at: datetime
    finished_at: datetime
    http_status: int | None = None
    error: str | None = None
    retry_after_seconds: float | None = None
    response: str | None = None


def verdict_of_status(status: int) -> Verdict:
    """2xx done, 202 not yet (polling only), 408 425 429 5xx retryable, other 3xx and 4xx permanent."""
    if status == 202:
        return Verdict.NOT_YET
    if 200 <= status < 300:
        return Verdict.DONE
    if status == 410:
        return Verdict.GONE
    if status in RETRYABLE_STATUSES or status >= 500:
        return Verdict.RETRYABLE
    return Verdict.PERMANENT


@dataclass(frozen=True, slots=True)
class Complete:
    """The target has done it."""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """A polling target is not done yet."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Retry:
    """Try once more."""

    at: datetime
    error: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The dead letter."""

    error: str


@dataclass(frozen=True, slots=True)
class Expire:
    """Its time has passed."""

    error: str


Decision = Complete | AskAgain | Retry | Fail | Expire
_COMPLETE = Complete()


def decide(now: datetime, job: RunningJob, result: DeliveryResult, jitter: float) -> Decision:
    """What becomes of `job` after `result`. `jitter` is a sample from [0, 1)."""
    if result.verdict is Verdict.DONE:
        return _COMPLETE
    if result.verdict is Verdict.NOT_YET:
        return _not_yet(now, job)
    error = (result.error or f"the target answered {result.http_status}")[:MAX_ERROR_CHARACTERS]
    if result.verdict is Verdict.EXPIRED:
        return Expire(error)
    if result.verdict is not Verdict.RETRYABLE:
        return Fail(error)
    if job.retries >= job.max_retries:
        return Fail(error)
    at = next_attempt_at(now, job.retries + 1, job.retry, jitter, result.retry_after_seconds)
    return _unless_expired(job, at, Retry(at, error))


def _not_yet(now: datetime, job: RunningJob) -> Decision:
    if job.schedule_type != ScheduleType.POLLING:
        return _COMPLETE
    asked = job.polls + 1
    most = job.max_attempts or DEFAULT_MAX_ATTEMPTS
    if asked >= most:
        return Fail(f"the target was asked {asked} times and is still not done")
    at = now + timedelta(seconds=job.interval_seconds or DEFAULT_POLL_SECONDS)
    return _unless_expired(job, at, AskAgain(at))


def _unless_expired(job: RunningJob, at: datetime, decision: Decision) -> Decision:
    if job.expires_at is not None and at >= job.expires_at:
        return Expire("it would next run after expires_at")
    return decision


def expiry_due(now: datetime, expires_at: datetime | None) -> bool:
    """Whether a job may no longer start."""
    return expires_at is not None and expires_at <= now


def record(job: RunningJob, decision: Decision, result: DeliveryResult) -> AttemptRecord:
    """The row that carries `decision` out."""
    retries, polls, next_run_at = job.retries, job.polls, None
    error: str | None = None
    match decision:
        case Complete():
            event, outcome = Event.COMPLETE, AttemptOutcome.COMPLETED
        case AskAgain(at=at):
            event, outcome, next_run_at, polls = Event.ASK_AGAIN, AttemptOutcome.NOT_YET, at, polls + 1
        case Retry(at=at, error=error):
            event, outcome, next_run_at, retries = Event.RETRY, AttemptOutcome.RETRIED, at, retries + 1
        case Fail(error=error):
            event, outcome = Event.FAIL, AttemptOutcome.FAILED
        case Expire(error=error):
            event, outcome = Event.EXPIRE, AttemptOutcome.EXPIRED
        case _:
            assert_never(decision)
    return AttemptRecord(
        merchant_id=job.merchant_id,
        job_id=job.id,
        attempt=job.attempt,
        status=after(event, JobStatus.RUNNING),
        outcome=outcome,
        next_run_at=next_run_at,
        retries=retries,
        rescues=job.rescues,
        polls=polls,
        due_at=job.due_at,
        started_at=result.started_at,
        finished_at=result.finished_at,
        http_status=result.http_status,
        error=error,
        response=result.response,
    )


def released(now: datetime, job: RunningJob, reason: str) -> AttemptRecord:
    """The row that gives a job back at once: its executor has no time left for it. Nobody's retry is spent."""
    return AttemptRecord(
        merchant_id=job.merchant_id,
        job_id=job.id,
        attempt=job.attempt,
        status=after(Event.RELEASE, JobStatus.RUNNING),
        outcome=AttemptOutcome.LOST,
        next_run_at=now,
        retries=job.retries,
        rescues=job.rescues,
        polls=job.polls,
        due_at=job.due_at,
        started_at=now,
        finished_at=now,
        http_status=None,
        error=reason,
    )


def rescued(now: datetime, job: RunningJob, jitter: float) -> AttemptRecord:
    """The row that follows an expired lease: tried again after a backoff, or failed after `MAX_RESCUES` crashes."""
    error = "the executor's lease ran out before it reported a result"
    if job.rescues >= MAX_RESCUES:
        event, outcome, next_run_at = Event.FAIL, AttemptOutcome.FAILED, None
        error = f"its executor was lost {job.rescues + 1} times"
    elif expiry_due(now, job.expires_at):
        event, outcome, next_run_at = Event.EXPIRE, AttemptOutcome.EXPIRED, None
    else:
        event, outcome = Event.RELEASE, AttemptOutcome.LOST
        next_run_at = next_attempt_at(now, job.rescues + 1, job.retry, jitter)
    return AttemptRecord(
        merchant_id=job.merchant_id,
        job_id=job.id,
        attempt=job.attempt,
        status=after(event, JobStatus.RUNNING),
        outcome=outcome,
        next_run_at=next_run_at,
        retries=job.retries,
        rescues=job.rescues + 1,
        polls=job.polls,
        due_at=job.due_at,
        started_at=now,
        finished_at=now,
        http_status=None,
        error=error,
    )
