"""The worker's side of `jobs`: claim, heartbeat, record, rescue, and the scan of what is due.

All of it crosses merchants, as `scheduler_worker`. Batches are bounded by their callers; ids are passed sorted, so
that two executors which hold some of the same hints lock rows in the same order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from operator import gt, itemgetter
from struct import unpack
from typing import Any, Final
from uuid import UUID

from psycopg import Connection
from psycopg.errors import UniqueViolation

from scheduler_core.domain.jobs import (
    AttemptKey,
    AttemptRecord,
    ClaimedJob,
    DuePage,
    HintGroup,
    MerchantLimits,
    Place,
    RunningJob,
)
from scheduler_core.domain.lifecycle import WAITING, Event, allowed_from
from scheduler_core.domain.outcomes import DeliveryResult
from scheduler_core.storage import arrays
from scheduler_core.storage.arrays import Array
from scheduler_core.storage.queries import Queries

_QUERIES = Queries("claims")
_CLAIMABLE = allowed_from(Event.CLAIM)
# What `_make` does, without a call of Python's own for each of thousands of rows.
_CLAIMED = partial(tuple.__new__, ClaimedJob)

LEASE_ID_BITS: Final = 63
"""A lease's id is as many random bits: what PostgreSQL's bigint holds without a sign."""

HexHint = tuple[str, str]
"""A merchant's and a job's id as 32 hex digits each, as the ready set has them: nobody needs more of a hint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantTerms:
    """What a worker must know of a merchant."""

    limits: MerchantLimits
    active: bool
    signing_key_version: int
    signing_key_rotated_at: datetime | None
    allowed_target_arns: tuple[str, ...]


def claim(
    connection: Connection[Any],
    hints: Sequence[HexHint],
    *,
    lease_id: int,
    now: datetime,
    due_before: datetime,
    lease: timedelta,
) -> list[ClaimedJob]:
    """Start an attempt of every hinted (merchant, job) that still waits and is due by `due_before` (I2).

    All are held under the new lease `lease_id`, which is there even if nothing was claimed: the caller
    ends it. Hints that are stale, doubled or early claim nothing. Raises what psycopg raises; nothing is claimed then,
    unless the connection is lost, when nobody knows. Whoever asks again under the same lease, outside a transaction,
    gets what was claimed the first time, if it was, and else claims now; then nothing can be claimed by the first.
    """
    if not hints:
        return []
    ordered = sorted(hints, key=itemgetter(1))
    under = {"lease_id": lease_id, "lease_expires_at": now + lease}
    asked = {
        "merchant_ids": arrays.hex_ids([hint[0] for hint in ordered]),
        "job_ids": arrays.hex_ids([hint[1] for hint in ordered]),
        "claimable": _CLAIMABLE,
        "due_before": due_before,
        "now": now,
    }
    try:
        rows = connection.execute(_QUERIES["claim_jobs"], under | asked, binary=True).fetchall()
    except UniqueViolation:
        rows = connection.execute(_QUERIES["claimed_unheard_across_merchants"], under, binary=True).fetchall()
    return [*map(_CLAIMED, rows)]


def extend_leases(
    connection: Connection[Any], held: Sequence[ClaimedJob], *, now: datetime, lease: timedelta
) -> set[AttemptKey]:
    """The heartbeat: prolong the leases that `held` are under; answers those that are still held."""
    if not held:
        return set()
    rows = connection.execute(
        _QUERIES["extend_leases"],
        {**_fences(held), "leases": sorted({job.lease_id for job in held}), "lease_expires_at": now + lease},
        binary=True,
    ).fetchall()
    return set(rows)


def _fences(held: Sequence[ClaimedJob]) -> dict[str, Array]:
    ordered = sorted(held, key=lambda job: job.id.int)
    return {
        "merchant_ids": arrays.ids([job.merchant_id for job in ordered]),
        "job_ids": arrays.ids([job.id for job in ordered]),
        "attempts": arrays.integers([job.attempt for job in ordered]),
    }


def end_leases(connection: Connection[Any], leases: Sequence[int]) -> None:
    """Forget leases under which nothing runs any more. A job that did would be nobody's for ever."""
    if not leases:
        return
    connection.execute(_QUERIES["end_leases_across_merchants"], {"leases": list(leases)})


def running(connection: Connection[Any], held: Sequence[ClaimedJob]) -> list[RunningJob]:
    """What decides how `held` go on; those that are another's by now are left out."""
    if not held:
        return []
    rows = connection.execute(_QUERIES["running_jobs"], _fences(held), binary=True).fetchall()
    return [RunningJob._make(row) for row in rows]


def complete(
    connection: Connection[Any],
    ended: Sequence[tuple[ClaimedJob, DeliveryResult]],
    *,
    now: datetime,
    executor_id: UUID,
    leases: Sequence[int] = (),
) -> int:
    """Write the ends of attempts that completed their jobs, each behind its fence (I3); answers how many were written.

    For each what `decide` and `record` make of the verdict DONE, in short, because nearly all attempts end so.
    `leases` have no running jobs but these, and end with them.
    """
    if not ended:
        end_leases(connection, leases)
        return 0
    ordered = sorted(ended, key=lambda each: each[0].id.int)
    row = connection.execute(
        _QUERIES["record_completions"],
        {
            "merchant_id": arrays.ids([job.merchant_id for job, _ in ordered]),
            "job_id": arrays.ids([job.id for job, _ in ordered]),
            "attempt": arrays.integers([job.attempt for job, _ in ordered]),
            "started_at": arrays.moments([result.started_at for _, result in ordered], often=True),
            "finished_at": arrays.moments([result.finished_at for _, result in ordered], often=True),
            "http_status": arrays.smallints([result.http_status for _, result in ordered]),
            "response": arrays.texts([result.response for _, result in ordered]),
            "executor_id": executor_id,
            "leases": list(leases),
            "now": now,
        },
        binary=True,
    ).fetchone()
    return int(row[0]) if row else 0


def record(
    connection: Connection[Any],
    records: Sequence[AttemptRecord],
    *,
    now: datetime,
    executor_id: UUID,
    leases: Sequence[int] = (),
) -> Sequence[AttemptRecord]:
    """Write the ends of attempts, each behind its fence (I3); answers those written, the others were stale.

    `leases` have no running jobs but these, and end with them.
    """
    if not records:
        end_leases(connection, leases)
        return []
    ordered = sorted(records, key=lambda each: each.job_id.int)
    columns = zip(AttemptRecord._fields, zip(*ordered, strict=True), strict=True)
    row = connection.execute(
        _QUERIES["record_attempts"],
        {
            **{name: _COLUMNS[name](values) for name, values in columns if name in _COLUMNS},
            "executor_id": executor_id,
            "leases": list(leases),
            "now": now,
        },
        binary=True,
    ).fetchone()
    if row is None or row[0] is None:
        return ordered
    written = set(row[0])
    return [each for each in ordered if f"{each.job_id.hex}:{each.attempt}" in written]


_COLUMNS: Final[Mapping[str, Callable[[Any], Array]]] = {
    "merchant_id": arrays.ids,
    "job_id": arrays.ids,
    "attempt": arrays.integers,
    "status": arrays.names,
    "outcome": arrays.names,
    "next_run_at": arrays.moments,
    "retries": arrays.smallints,
    "rescues": arrays.smallints,
    "polls": arrays.integers,
    "started_at": arrays.moments,
    "finished_at": arrays.moments,
    "http_status": arrays.smallints,
    "error": arrays.texts,
    "response": arrays.texts,
}


def lock_expired_leases_across_merchants(connection: Connection[Any], *, now: datetime, most: int) -> list[int]:
    """Up to `most` leases that ran out by `now`, locked until the transaction ends."""
    rows = connection.execute(_QUERIES["lock_expired_leases_across_merchants"], {"now": now, "most": most}).fetchall()
    return [row[0] for row in rows]


def lock_lost_across_merchants(connection: Connection[Any], leases: Sequence[int], *, most: int) -> list[RunningJob]:
    """Up to `most` jobs that run under `leases`, locked until the transaction ends."""
    rows = connection.execute(_QUERIES["lock_lost_across_merchants"], {"leases": leases, "most": most}).fetchall()
    return [RunningJob._make(row) for row in rows]


def end_rescued_leases_across_merchants(connection: Connection[Any], leases: Sequence[int]) -> None:
    """Forget those of `leases` under which nothing runs any more."""
    connection.execute(_QUERIES["end_rescued_leases_across_merchants"], {"leases": leases})


def next_lease_expiry_across_merchants(connection: Connection[Any]) -> datetime | None:
    """When the first lease runs out; None: nothing is running."""
    row = connection.execute(_QUERIES["next_lease_expiry_across_merchants"]).fetchone()
    return row[0] if row else None


def oldest_due_across_merchants(connection: Connection[Any]) -> datetime | None:
    """When the first waiting job is, or was, due; None: nothing waits."""
    row = connection.execute(_QUERIES["oldest_due_across_merchants"]).fetchone()
    return row[0] if row else None


def due_page_across_merchants(
    connection: Connection[Any], *, after: Place, until: datetime, most: int, skipped: Sequence[UUID] = ()
) -> DuePage:
    """Up to `most` waiting jobs due by `until`, in due order, after `after`, but not of `skipped` merchants."""
    rows = connection.execute(
        _QUERIES["due_page_across_merchants"],
        {"after_due": after.due_at, "after_id": after.job_id, "until": until, "most": most, "skipped": list(skipped)},
        binary=True,
    ).fetchall()
    groups, ends = [], []
    for merchant_id, priority, ids, times in rows:
        digits, since = ids.hex(), unpack(f">{len(ids) // 16}q", times)
        jobs: Sequence[str] = [digits[at : at + 32] for at in range(0, len(digits), 32)]
        if any(map(gt, since, since[1:])):  # PostgreSQL has put them together in another order
            since, jobs = zip(*sorted(zip(since, jobs, strict=True)), strict=True)
        due_ms = [-(-moment // 1_000) + arrays.EPOCH_MS for moment in since]
        groups.append(HintGroup(merchant_id, priority, jobs, due_ms))
        ends.append((since[-1], jobs[-1]))
    if not ends:
        return DuePage((), None)
    last, job = max(ends)
    return DuePage(groups, Place(arrays.EPOCH + timedelta(microseconds=last), UUID(hex=job)))


def expire_waiting_across_merchants(
    connection: Connection[Any], *, now: datetime, most: int
) -> list[tuple[UUID, UUID]]:
    """End up to `most` waiting jobs whose `expires_at` has passed; answers (merchant, job)."""
    rows: list[tuple[UUID, UUID]] = connection.execute(
        _QUERIES["expire_waiting_across_merchants"], {"now": now, "most": most, "expirable": sorted(WAITING)}
    ).fetchall()
    return rows


def merchant_terms(connection: Connection[Any], merchant_ids: Sequence[UUID]) -> dict[UUID, MerchantTerms]:
    """The terms of each merchant that exists."""
    rows = connection.execute(
        _QUERIES["merchant_limits_across_merchants"], {"merchant_ids": arrays.ids(merchant_ids)}, binary=True
    ).fetchall()
    return {
        row[0]: MerchantTerms(
            limits=MerchantLimits(
                merchant_id=row[0], weight=row[2], max_concurrency=row[3], rate_limit_per_second=row[4]
            ),
            active=row[1],
            signing_key_version=row[5],
            signing_key_rotated_at=row[6],
            allowed_target_arns=tuple(row[7]),
        )
        for row in rows
    }
