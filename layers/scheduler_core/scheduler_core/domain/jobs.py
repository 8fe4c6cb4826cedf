"""The values that a job is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from scheduler_core.domain.lifecycle import JobStatus, ScheduleType

MAX_PAYLOAD_BYTES = 256 * 1024
MAX_ERROR_CHARACTERS = 1_000
MAX_RESCUES = 5
"""How often a job is given back after its executor died, before it fails. That spends no retry of the producer's."""


class AttemptOutcome(StrEnum):
    COMPLETED = "completed"
    NOT_YET = "not_yet"
    RETRIED = "retried"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Backoff between attempts, in seconds: `min(max, initial * multiplier^(attempt-1))`, with full jitter."""

    initial_seconds: float = 1.0
    max_seconds: float = 3_600.0
    multiplier: float = 2.0


class NewJob(NamedTuple):
    """A producer's job as it is stored for the first time: pending, due at `scheduled_at`."""

    id: UUID
    merchant_id: UUID
    scheduled_at: datetime
    target: str
    """JSON text: `{"type": "http", "url", "method", "headers"}` or an AWS target."""
    schedule_type: ScheduleType = ScheduleType.ONE_TIME
    expires_at: datetime | None = None
    priority: int = 0
    max_retries: int = 3
    retry: RetryPolicy = RetryPolicy()
    timeout_seconds: int = 30
    interval_seconds: int | None = None
    max_attempts: int | None = None
    payload: str | None = None
    """JSON text, sent as it is; None: no body."""
    metadata: str = "{}"
    reference_id: str | None = None


class NewJobs(NamedTuple):
    """One merchant's new jobs, a column for each field of `NewJob`, all of one length."""

    id: Sequence[str]
    """32 hex digits each."""
    scheduled_at: Sequence[datetime]
    target: Sequence[str]
    schedule_type: Sequence[str]
    """Each a ScheduleType, as it is stored."""
    expires_at: Sequence[datetime | None]
    priority: Sequence[int]
    max_retries: Sequence[int]
    retry: Sequence[RetryPolicy]
    timeout_seconds: Sequence[int]
    interval_seconds: Sequence[int | None]
    max_attempts: Sequence[int | None]
    payload: Sequence[str | None]
    metadata: Sequence[str]
    reference_id: Sequence[str | None]

    @classmethod
    def of(cls, jobs: Sequence[NewJob]) -> "NewJobs":
        """The same jobs in the same order; their merchant is left out."""
        columns = {name: [getattr(job, name) for job in jobs] for name in cls._fields}
        return cls(**columns | {"id": [job.id.hex for job in jobs]})


class Place(NamedTuple):
    """A place in the order in which jobs fall due."""

    due_at: datetime
    job_id: UUID


class Hint(NamedTuple):
    """What the ready queue knows of a job. It may be stale or doubled: the claim in PostgreSQL decides (I2)."""

    merchant_id: UUID
    job_id: UUID
    due_at: datetime
    priority: int


class HintGroup(NamedTuple):
    """Hints of one merchant and priority in the order of due times; the two columns are of one length."""

    merchant_id: UUID
    priority: int
    job_ids: Sequence[str]
    """32 hex digits each."""
    due_ms: Sequence[int]
    """Milliseconds since 1970, rounded up."""

    def part(self, start: int, end: int) -> "HintGroup":
        """The hints from `start` up to `end`."""
        return self._replace(job_ids=self.job_ids[start:end], due_ms=self.due_ms[start:end])


class DuePage(NamedTuple):
    """The next waiting jobs in the order of due times, which ends at `end`; None: there are none."""

    groups: Sequence[HintGroup]
    end: Place | None

    @property
    def size(self) -> int:
        """How many jobs."""
        return sum(len(group.job_ids) for group in self.groups)


AttemptKey = tuple[UUID, int]
"""A job's id and the attempt's number: the fence."""


class ClaimedJob(NamedTuple):
    """A job that this executor holds, with what a delivery needs: `attempt` is its fence (I3).

    A tuple, because thousands are made each second; and no more than that, because each column of a claim costs.
    """

    id: UUID
    merchant_id: UUID
    attempt: int
    lease_id: int
    """The lease of the batch that it was claimed with."""
    due_at: datetime
    """When it was due; a claim may come a little earlier, a delivery never does."""
    expires_at: datetime | None
    timeout_seconds: int
    target: str
    payload: str | None


class RunningJob(NamedTuple):
    """A job under an attempt, with what decides how it goes on where that attempt does not complete it."""

    id: UUID
    merchant_id: UUID
    attempt: int
    due_at: datetime
    retries: int
    rescues: int
    polls: int
    max_retries: int
    max_attempts: int | None
    interval_seconds: int | None
    schedule_type: str
    """A ScheduleType, as it is stored."""
    template_id: UUID | None
    priority: int
    expires_at: datetime | None
    retry_initial_seconds: float
    retry_max_seconds: float
    retry_multiplier: float

    @property
    def retry(self) -> RetryPolicy:
        return RetryPolicy(
            initial_seconds=self.retry_initial_seconds,
            max_seconds=self.retry_max_seconds,
            multiplier=self.retry_multiplier,
        )


class AttemptRecord(NamedTuple):
    """The end of one attempt, as it is written behind the fence `(id, attempt, status = running)`."""

    merchant_id: UUID
    job_id: UUID
    attempt: int
    status: JobStatus
    outcome: AttemptOutcome
    next_run_at: datetime | None
    """Set exactly where `status` is pending or retrying."""
    retries: int
    rescues: int
    polls: int
    due_at: datetime
    started_at: datetime
    finished_at: datetime
    http_status: int | None
    error: str | None
    response: str | None = None
    """The first bytes of the answer, as text, for the producer's eyes only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantLimits:
    """What the ready queue must honour for a merchant. None: no limit."""

    merchant_id: UUID
    weight: int = 1
    max_concurrency: int | None = None
    rate_limit_per_second: int | None = None


JsonObject = dict[str, Any]
