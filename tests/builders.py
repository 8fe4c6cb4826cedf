"""Values for tests, made with as little said as possible."""

import itertools
import json
import os
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from scheduler_core.domain.ids import milliseconds_up, uuid7
from scheduler_core.domain.jobs import ClaimedJob, Hint, HintGroup, RunningJob
from scheduler_core.domain.lifecycle import ScheduleType
from scheduler_core.storage.claims import LEASE_ID_BITS

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
DEAD = {"failed", "cancelled", "expired"}
_numbers = itertools.count(1)

_INSERT_JOB = """
INSERT INTO jobs (id, merchant_id, template_id, schedule_type, status, priority, attempt, retries, rescues, polls,
    max_retries, max_attempts, interval_seconds, timeout_seconds, retry_initial_seconds, retry_max_seconds,
    retry_multiplier, scheduled_at, next_run_at, lease_id, dead, expires_at, completed_at, created_at, updated_at,
    target, payload, metadata)
VALUES (%(id)s, %(merchant_id)s, %(template_id)s, %(schedule_type)s, %(status)s, %(priority)s, %(attempt)s, %(retries)s,
    %(rescues)s, 0, %(max_retries)s, %(max_attempts)s, %(interval_seconds)s, %(timeout_seconds)s, %(initial)s, 3600, 2,
    %(scheduled_at)s, %(next_run_at)s, %(lease_id)s, %(dead)s, %(expires_at)s, %(completed_at)s, %(now)s, %(now)s,
    %(target)s, %(payload)s, '{}')
"""


def new_id(now: datetime = NOW) -> UUID:
    """A fresh id."""
    return uuid7(now, os.urandom(10))


def http_target(url: str = "http://127.0.0.1:9/", **more: Any) -> str:
    """A stored HTTP target."""
    return json.dumps({"type": "http", "url": url, "method": "POST", "headers": {}, **more})


def store_merchant(database_url: str, **columns: Any) -> UUID:
    """A merchant in the database."""
    merchant_id = new_id()
    values = {"id": merchant_id, "name": f"merchant {next(_numbers)}", "created_at": NOW, "updated_at": NOW, **columns}
    names, holes = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    with psycopg.connect(database_url) as connection:
        connection.execute(f"INSERT INTO merchants ({names}) VALUES ({holes})".encode(), values)
    return merchant_id


def store_jobs(
    database_url: str, merchant_id: UUID, count: int = 1, *, now: datetime = NOW, **columns: Any
) -> list[UUID]:
    """Jobs in the database, pending and due at `now` unless `columns` say otherwise.

    Running ones are held under one lease, until `lease_expires_at`.
    """
    ids = [new_id(now) for _ in range(count)]
    given = {
        "merchant_id": merchant_id,
        "template_id": None,
        "schedule_type": "one_time",
        "status": "pending",
        "priority": 0,
        "attempt": 0,
        "retries": 0,
        "rescues": 0,
        "max_retries": 3,
        "max_attempts": None,
        "interval_seconds": None,
        "timeout_seconds": 30,
        "initial": 1,
        "scheduled_at": now,
        "next_run_at": now,
        "lease_id": None,
        "dead": columns.get("status") in DEAD,
        "expires_at": None,
        "completed_at": None,
        "target": http_target(),
        "payload": None,
        "now": now,
        **columns,
    }
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        if given["status"] == "running":
            given["lease_id"] = store_lease(connection, merchant_id, ids, given.pop("lease_expires_at"))
        cursor.executemany(_INSERT_JOB, [{**given, "id": job_id} for job_id in ids])
    return ids


def store_lease(
    connection: psycopg.Connection[Any], merchant_id: UUID, job_ids: list[UUID], expires_at: datetime
) -> int:
    """A lease of one merchant's jobs; answers its id."""
    lease_id = random_lease_id()
    connection.execute(
        "INSERT INTO leases (id, expires_at, merchant_ids, job_ids) VALUES (%s, %s, %s, %s)",
        (lease_id, expires_at, [merchant_id] * len(job_ids), job_ids),
    )
    return lease_id


def random_lease_id() -> int:
    """The id of a new lease."""
    return secrets.randbits(LEASE_ID_BITS)


def lease_expiry(database_url: str, job_id: UUID) -> datetime | None:
    """Until when a job is held; None: it is not."""
    query = "SELECT leases.expires_at FROM jobs JOIN leases ON leases.id = jobs.lease_id WHERE jobs.id = %s"
    found = rows(database_url, query, job_id)
    return found[0]["expires_at"] if found else None


def ended_attempts(database_url: str, job_id: UUID | None = None) -> list[str]:
    """The outcomes of a job's ended attempts, or of everybody's, in order; what completed a job is in its own row."""
    query = """
        SELECT outcome FROM (
            SELECT job_id, attempt, outcome FROM executions
            UNION ALL SELECT id, attempt, 'completed' FROM jobs WHERE status = 'completed'
        ) AS ended
        WHERE %(job)s::uuid IS NULL OR job_id = %(job)s ORDER BY job_id, attempt
    """
    with psycopg.connect(database_url) as connection:
        return [row[0] for row in connection.execute(query.encode(), {"job": job_id}).fetchall()]


def job_row(database_url: str, job_id: UUID) -> dict[str, Any]:
    """A job as it is stored."""
    return rows(database_url, "SELECT * FROM jobs WHERE id = %s", job_id)[0]


def rows(database_url: str, query: str, *parameters: Any) -> list[dict[str, Any]]:
    """What a query answers, as the owner."""
    with psycopg.connect(database_url, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute(query.encode(), parameters).fetchall()


def hints(merchant_id: UUID, job_ids: Iterable[UUID], *, due_at: datetime = NOW, priority: int = 0) -> list[Hint]:
    """Hints for jobs of one merchant."""
    return [Hint(merchant_id, job_id, due_at, priority) for job_id in job_ids]


def grouped(given: Iterable[Hint]) -> list[HintGroup]:
    """The same hints by merchant and priority, each group in the order of due times."""
    groups: dict[tuple[UUID, int], list[Hint]] = {}
    for hint in sorted(given, key=lambda hint: (hint.due_at, hint.job_id)):
        groups.setdefault((hint.merchant_id, hint.priority), []).append(hint)
    return [
        HintGroup(*key, [hint.job_id.hex for hint in group], [milliseconds_up(hint.due_at) for hint in group])
        for key, group in groups.items()
    ]


def claimed_job(**fields: Any) -> ClaimedJob:
    """A job that an executor holds."""
    given: dict[str, Any] = {
        "id": new_id(),
        "merchant_id": new_id(),
        "attempt": 1,
        "lease_id": 1,
        "due_at": NOW,
        "expires_at": None,
        "timeout_seconds": 30,
        "target": http_target(),
        "payload": None,
        **fields,
    }
    return ClaimedJob(**given)


def running_job(**fields: Any) -> RunningJob:
    """A job under its first attempt."""
    given: dict[str, Any] = {
        "id": new_id(),
        "merchant_id": new_id(),
        "attempt": 1,
        "due_at": NOW,
        "retries": 0,
        "rescues": 0,
        "polls": 0,
        "max_retries": 3,
        "max_attempts": None,
        "interval_seconds": None,
        "schedule_type": ScheduleType.ONE_TIME,
        "template_id": None,
        "priority": 0,
        "expires_at": None,
        "retry_initial_seconds": 1.0,
        "retry_max_seconds": 3600.0,
        "retry_multiplier": 2.0,
        **fields,
    }
    return RunningJob(**given)


def seconds(count: float) -> timedelta:
    """A span."""
    return timedelta(seconds=count)
