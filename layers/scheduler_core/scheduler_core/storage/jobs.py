"""The producer's side of `jobs`: everything here is asked inside one merchant's walls (I7)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection

from scheduler_core.domain.errors import NotFoundError, StaleTransitionError
from scheduler_core.domain.jobs import Hint, NewJob, NewJobs
from scheduler_core.domain.lifecycle import Event, JobStatus, allowed_from
from scheduler_core.storage import arrays
from scheduler_core.storage.arrays import Array
from scheduler_core.storage.queries import Queries

_QUERIES: Final = Queries("jobs")
SCAN_ROWS: Final = 10_000
"""How many rows one page may look at (I8)."""
PAGE_BYTES: Final = 2 * 1024 * 1024
"""How much of targets, payloads and metadata one page may hold: Lambda's own answer ends at 6 MB, escaped."""
COUNTED_ROWS: Final = 200_000
_BEYOND_ALL: Final = UUID(int=(1 << 128) - 1)
_DEAD: Final = frozenset({JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED})


class JobRow(NamedTuple):
    """A job as it is stored. `target`, `payload` and `metadata` are JSON text."""

    id: UUID
    template_id: UUID | None
    nominal_at: datetime | None
    schedule_type: str
    status: str
    priority: int
    attempt: int
    retries: int
    polls: int
    max_retries: int
    max_attempts: int | None
    interval_seconds: int | None
    timeout_seconds: int
    retry_initial_seconds: float
    retry_max_seconds: float
    retry_multiplier: float
    scheduled_at: datetime
    next_run_at: datetime | None
    expires_at: datetime | None
    last_run_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    reference_id: str | None
    last_error: str | None
    target: str
    payload: str | None
    metadata: str


class ExecutionRow(NamedTuple):
    """One attempt that has ended."""

    attempt: int
    outcome: str
    due_at: datetime | None
    started_at: datetime
    finished_at: datetime
    http_status: int | None
    error: str | None
    response: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs are wanted. None: no matter. `scheduled_to` is not included."""

    statuses: Sequence[JobStatus] | None = None
    template_id: UUID | None = None
    reference_id: str | None = None
    scheduled_from: datetime | None = None
    scheduled_to: datetime | None = None


class JobPage(NamedTuple):
    """A page of jobs, newest first; `before` is where the next one starts, None at the end."""

    jobs: list[JobRow]
    before: UUID | None


class JobEdit(NamedTuple):
    """What a producer changes. None: stays as it is, but for the payload, which `sets_payload` decides about."""

    scheduled_at: datetime | None = None
    priority: int | None = None
    max_retries: int | None = None
    timeout_seconds: int | None = None
    target: str | None = None
    metadata: str | None = None
    payload: str | None = None
    sets_payload: bool = False


class JobCounts(NamedTuple):
    """How many of the newest `COUNTED_ROWS` jobs are in each status."""

    by_status: dict[JobStatus, int]
    complete: bool
    since: datetime | None
    oldest_due_at: datetime | None


def insert(connection: Connection[Any], merchant_id: UUID, jobs: NewJobs, now: datetime) -> None:
    """Store new jobs, due at `scheduled_at` or now, whichever is later."""
    if not jobs.id:
        return
    columns, policies = jobs._asdict(), jobs.retry
    connection.execute(
        _QUERIES["insert_jobs"],
        {
            "merchant_id": merchant_id,
            "now": now,
            **{name: array(columns[name]) for name, array in _INSERTED.items()},
            "retry_initial_seconds": arrays.floats([policy.initial_seconds for policy in policies]),
            "retry_max_seconds": arrays.floats([policy.max_seconds for policy in policies]),
            "retry_multiplier": arrays.floats([policy.multiplier for policy in policies]),
        },
    )


def insert_alone(connection: Connection[Any], job: NewJob, now: datetime) -> None:
    """Store one new job by a statement that is a transaction of its own, inside its merchant's walls (I7)."""
    connection.execute(
        _QUERIES["insert_job"],
        {
            **job._asdict(),
            "merchant_id": str(job.merchant_id),
            "schedule_type": job.schedule_type.value,
            "now": now,
            "retry_initial_seconds": job.retry.initial_seconds,
            "retry_max_seconds": job.retry.max_seconds,
            "retry_multiplier": job.retry.multiplier,
        },
    )


_INSERTED: Final[Mapping[str, Callable[[Any], Array]]] = {
    "id": arrays.hex_ids,
    "schedule_type": arrays.names,
    "priority": arrays.smallints,
    "max_retries": arrays.smallints,
    "max_attempts": arrays.integers,
    "interval_seconds": arrays.integers,
    "timeout_seconds": arrays.smallints,
    "scheduled_at": arrays.moments,
    "expires_at": arrays.moments,
    "reference_id": arrays.texts,
    "target": arrays.json_texts,
    "payload": arrays.json_texts,
    "metadata": arrays.json_texts,
}


def get(connection: Connection[Any], merchant_id: UUID, job_id: UUID) -> JobRow:
    """The merchant's job. Raises NotFoundError."""
    found = read(connection, merchant_id, [job_id])
    if not found:
        raise NotFoundError(f"there is no job {job_id}")
    return found[0]


def read(connection: Connection[Any], merchant_id: UUID, job_ids: Sequence[UUID]) -> list[JobRow]:
    """The merchant's jobs with these ids, newest first, as many as fit into `PAGE_BYTES`, but at least one."""
    if not job_ids:
        return []
    rows = connection.execute(
        _QUERIES["read_jobs"],
        {
            "merchant_id": merchant_id,
            "ids": list(job_ids),
            "first_id": min(job_ids),
            "last_id": max(job_ids),
            "most_bytes": PAGE_BYTES,
        },
    )
    return [JobRow(*row) for row in rows]


def waiting(connection: Connection[Any], merchant_id: UUID, job_ids: Sequence[UUID]) -> list[Hint]:
    """Hints of those of the merchant's jobs with these ids that wait."""
    if not job_ids:
        return []
    rows = connection.execute(
        _QUERIES["waiting_jobs"],
        {"merchant_id": merchant_id, "ids": list(job_ids), "first_id": min(job_ids), "last_id": max(job_ids)},
    )
    return [Hint(merchant_id, *row) for row in rows]


def list_page(
    connection: Connection[Any], merchant_id: UUID, wanted: JobFilter, *, before: UUID | None, limit: int
) -> JobPage:
    """Up to `limit` wanted jobs made before the one with id `before`, newest first.

    Looks at `SCAN_ROWS` rows at most, so a page may be short, or empty, and still have a next one.
    """
    parameters = {
        "merchant_id": merchant_id,
        "before": before or _BEYOND_ALL,
        "scan": SCAN_ROWS,
        "statuses": None if wanted.statuses is None else [str(status) for status in wanted.statuses],
        "template_id": wanted.template_id,
        "reference_id": wanted.reference_id,
        "scheduled_from": wanted.scheduled_from,
        "scheduled_to": wanted.scheduled_to,
        "offset": 0,
        "limit": limit + 1,
    }
    query = _QUERIES[_scan_for(wanted)]
    ids = [row[0] for row in connection.execute(query, parameters)]
    jobs = read(connection, merchant_id, ids[:limit])
    if len(jobs) < len(ids):
        return JobPage(jobs, jobs[-1].id)
    # The end was reached; was it the end of the jobs, or of what one page may look at?
    unfiltered = {"statuses": None, "scheduled_from": None, "scheduled_to": None, "offset": SCAN_ROWS - 1, "limit": 1}
    if wanted.reference_id is not None:
        unfiltered["template_id"] = None
    row = connection.execute(query, parameters | unfiltered).fetchone()
    return JobPage(jobs, row[0] if row else None)


def _scan_for(wanted: JobFilter) -> LiteralString:
    """The query whose index fits the filter best."""
    if wanted.reference_id is not None:
        return "page_of_reference"
    if wanted.template_id is not None:
        return "page_of_template"
    if wanted.statuses is not None and _DEAD.issuperset(wanted.statuses):
        return "page_of_dead"
    return "page_of_all"


def list_executions(
    connection: Connection[Any], merchant_id: UUID, job_id: UUID, *, after: int, limit: int
) -> list[ExecutionRow]:
    """Up to `limit` ended attempts of the job after number `after`, in order. Raises NotFoundError."""
    parameters = {"merchant_id": merchant_id, "job_id": job_id, "after": after, "limit": limit}
    rows = [ExecutionRow(*row) for row in connection.execute(_QUERIES["list_executions"], parameters)]
    if not rows:
        status_of(connection, merchant_id, job_id)
    return rows


def edit(connection: Connection[Any], merchant_id: UUID, job_id: UUID, change: JobEdit, now: datetime) -> None:
    """Change a waiting job. Raises NotFoundError, StaleTransitionError once it runs or has ended."""
    guarded = {"merchant_id": merchant_id, "id": job_id, "now": now, "allowed": allowed_from(Event.EDIT)}
    if connection.execute(_QUERIES["edit_job"], guarded | change._asdict()).fetchone() is None:
        status = status_of(connection, merchant_id, job_id)
        if status in allowed_from(Event.EDIT):
            raise StaleTransitionError("scheduled_at would not lie before the job's expires_at")
        raise StaleTransitionError(f"a {status} job cannot be edited")


def cancel(connection: Connection[Any], merchant_id: UUID, job_id: UUID, now: datetime) -> bool:
    """End a job that has not ended; True: a delivery is under way. Raises NotFoundError, StaleTransitionError."""
    guarded = {"merchant_id": merchant_id, "id": job_id, "now": now, "allowed": allowed_from(Event.CANCEL)}
    row = connection.execute(_QUERIES["cancel_job"], guarded).fetchone()
    if row is None:
        raise StaleTransitionError(f"a {status_of(connection, merchant_id, job_id)} job cannot be cancelled")
    return bool(row[0])


def run_now(connection: Connection[Any], merchant_id: UUID, job_id: UUID, now: datetime) -> None:
    """Make a waiting job due now. Raises NotFoundError, StaleTransitionError."""
    guarded = {"merchant_id": merchant_id, "id": job_id, "now": now, "allowed": allowed_from(Event.RUN_NOW)}
    if connection.execute(_QUERIES["run_job_now"], guarded).fetchone() is None:
        raise StaleTransitionError(f"a {status_of(connection, merchant_id, job_id)} job cannot be run now")


def redrive(connection: Connection[Any], merchant_id: UUID, job_id: UUID, now: datetime) -> None:
    """Give a failed or cancelled job a new life, due now. Raises NotFoundError, StaleTransitionError."""
    guarded = {"merchant_id": merchant_id, "id": job_id, "now": now, "allowed": allowed_from(Event.REDRIVE)}
    if connection.execute(_QUERIES["redrive_job"], guarded).fetchone() is None:
        raise StaleTransitionError(f"a {status_of(connection, merchant_id, job_id)} job cannot be retried")


def status_of(connection: Connection[Any], merchant_id: UUID, job_id: UUID) -> JobStatus:
    """The job's status. Raises NotFoundError."""
    row = connection.execute(_QUERIES["job_status"], {"merchant_id": merchant_id, "id": job_id}).fetchone()
    if row is None:
        raise NotFoundError(f"there is no job {job_id}")
    return JobStatus(row[0])


def counts(connection: Connection[Any], merchant_id: UUID, now: datetime) -> JobCounts:
    """The newest jobs by status, every status named."""
    rows = connection.execute(
        _QUERIES["count_jobs"], {"merchant_id": merchant_id, "now": now, "most": COUNTED_ROWS}
    ).fetchall()
    by_status = dict.fromkeys(JobStatus, 0) | {JobStatus(row[0]): row[1] for row in rows}
    return JobCounts(
        by_status=by_status,
        complete=sum(by_status.values()) < COUNTED_ROWS,
        since=min((row[2] for row in rows), default=None),
        oldest_due_at=min((row[3] for row in rows if row[3] is not None), default=None),
    )


def throughput_since(connection: Connection[Any], merchant_id: UUID, since: datetime) -> tuple[int, int]:
    """How many attempts completed, and how many jobs failed, in the minutes after `since`."""
    row = connection.execute(
        _QUERIES["recent_throughput"], {"merchant_id": merchant_id, "since": since - timedelta(minutes=1)}
    ).fetchone()
    return (0, 0) if row is None else (row[0], row[1])
