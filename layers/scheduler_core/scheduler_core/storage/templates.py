"""Templates and their runs. The producer's side names the merchant first; what crosses merchants says so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.errors import UniqueViolation

from scheduler_core.domain.errors import ConflictError, NotFoundError, StaleTransitionError
from scheduler_core.domain.ids import lowest_id
from scheduler_core.domain.jobs import Hint, RetryPolicy
from scheduler_core.domain.recurrence import Schedule
from scheduler_core.domain.templates import CatchUp, Run, Template, Timetable, Withdrawal
from scheduler_core.storage.queries import Queries

_QUERIES: Final = Queries("templates")
SCAN_ROWS: Final = 10_000
"""How many templates one page may look at (I8)."""
PAGE_BYTES: Final = 2 * 1024 * 1024
"""How much of targets, payloads and metadata one page may hold."""
WITHDRAWN_AT_ONCE: Final = 5_000
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BEYOND_ALL: Final = UUID(int=(1 << 128) - 1)
_WITHDRAWALS: Final = [reason.value for reason in Withdrawal]


class TemplatePage(NamedTuple):
    """A page of templates, newest first; `before` is where the next one starts, None at the end."""

    templates: list[Template]
    before: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far a timetable moves, from where it stood."""

    timetable: Timetable
    next_nominal_at: datetime | None
    last_nominal_at: datetime | None
    """None: as before."""
    made: int


def create(connection: Connection[Any], merchant_id: UUID, template: Template) -> None:
    """Store a new template. Raises ConflictError where its name is taken."""
    if not connection.execute(_QUERIES["create_template"], _columns(merchant_id, template)).rowcount:
        raise _name_is_taken(template)


def get(connection: Connection[Any], merchant_id: UUID, template_id: UUID, now: datetime) -> Template:
    """The merchant's template. Raises NotFoundError."""
    found = _read(connection, merchant_id, [template_id], now)
    if not found:
        raise NotFoundError(f"there is no template {template_id}")
    return found[0]


def lock(connection: Connection[Any], merchant_id: UUID, template_id: UUID, now: datetime) -> Template:
    """The merchant's template, held until the transaction ends. Raises NotFoundError."""
    connection.execute(_QUERIES["lock_template"], {"merchant_id": merchant_id, "id": template_id})
    return get(connection, merchant_id, template_id, now)


def list_page(
    connection: Connection[Any],
    merchant_id: UUID,
    *,
    active: bool | None,
    name: str | None,
    before: UUID | None,
    limit: int,
    now: datetime,
) -> TemplatePage:
    """Up to `limit` templates made before the one with id `before`, newest first.

    Looks at `SCAN_ROWS` at most, so a page may be short, or empty, and still have a next one.
    """
    scan = {"merchant_id": merchant_id, "before": before or _BEYOND_ALL, "scan": SCAN_ROWS}
    wanted = {"active": active, "name": name, "limit": limit + 1}
    ids = [row[0] for row in connection.execute(_QUERIES["page_of_templates"], scan | wanted)]
    templates = _read(connection, merchant_id, ids[:limit], now)
    if len(templates) < len(ids):
        return TemplatePage(templates, templates[-1].id)
    end = None if name is not None else connection.execute(_QUERIES["end_of_scan"], scan).fetchone()
    return TemplatePage(templates, end[0] if end else None)


def _read(connection: Connection[Any], merchant_id: UUID, ids: Sequence[UUID], now: datetime) -> list[Template]:
    if not ids:
        return []
    rows = connection.execute(
        _QUERIES["read_templates"],
        {"merchant_id": merchant_id, "ids": list(ids), "most_bytes": PAGE_BYTES, "lowest_id_now": lowest_id(now)},
    )
    return [_template(row) for row in rows]


def change(connection: Connection[Any], merchant_id: UUID, template: Template) -> None:
    """Write a template that `lock` gave and that was changed since. Raises ConflictError where its name is taken."""
    try:
        connection.execute(_QUERIES["change_template"], _columns(merchant_id, template))
    except UniqueViolation as error:
        raise _name_is_taken(template) from error


def delete(connection: Connection[Any], merchant_id: UUID, template_id: UUID) -> None:
    """Remove the template; its jobs stay. Raises NotFoundError."""
    if not connection.execute(_QUERIES["delete_template"], {"merchant_id": merchant_id, "id": template_id}).rowcount:
        raise NotFoundError(f"there is no template {template_id}")


def pause(connection: Connection[Any], merchant_id: UUID, template_id: UUID, reason: str, now: datetime) -> bool:
    """Stop an active template and cancel its waiting runs; False: it was not active. For the scheduler's own reasons.

    `reason` is shown to the producer as `paused_reason`, such as "the target answered 410".
    """
    told = {"merchant_id": merchant_id, "id": template_id, "reason": reason, "now": now}
    if connection.execute(_QUERIES["pause_template"], told).fetchone() is None:
        return False
    withdrawn = withdraw(connection, merchant_id, template_id, Withdrawal.PAUSED, now)
    connection.execute(_QUERIES["uncount_runs"], told | {"withdrawn": withdrawn})
    return True


def withdraw(
    connection: Connection[Any],
    merchant_id: UUID,
    template_id: UUID,
    reason: Withdrawal,
    now: datetime,
    *,
    after: datetime | None = None,
) -> int:
    """Cancel the template's runs that wait unstarted: all, or those whose nominal time lies after `after`.

    Answers how many that were. Runs made outside the schedule are cancelled only with their template's deletion.
    """
    told = {
        "merchant_id": merchant_id,
        "id": template_id,
        "reason": reason.value,
        "now": now,
        "after": after or _EVER,
        "with_extra": reason is Withdrawal.DELETED,
        "most": WITHDRAWN_AT_ONCE,
    }
    withdrawn = 0
    while (count := connection.execute(_QUERIES["withdraw_runs"], told).rowcount) > 0:
        withdrawn += count
    return withdrawn


def refresh_runs(connection: Connection[Any], merchant_id: UUID, template_id: UUID, now: datetime) -> list[Hint]:
    """Give waiting, unstarted runs the target, payload and so on that the template now has."""
    told = {"merchant_id": merchant_id, "id": template_id, "now": now}
    return [Hint(*row) for row in connection.execute(_QUERIES["refresh_runs"], told)]


def run_now(connection: Connection[Any], merchant_id: UUID, template_id: UUID, job_id: UUID, now: datetime) -> Hint:
    """Make one job outside the schedule, due now; the template may be paused. Raises NotFoundError."""
    told = {"merchant_id": merchant_id, "id": template_id, "job_id": job_id, "now": now}
    row = connection.execute(_QUERIES["run_template_now"], told).fetchone()
    if row is None:
        raise NotFoundError(f"there is no template {template_id}")
    return Hint(*row)


def lock_due_across_merchants(
    connection: Connection[Any], *, until: datetime, most: int, left_out: Iterable[UUID] = ()
) -> list[Timetable]:
    """Up to `most` timetables with a run to make by `until`, held until the transaction ends.

    Those that another recurrence run holds are passed over, and so are inactive merchants'.
    """
    told = {"until": until, "most": most, "left_out": list(left_out)}
    return [_timetable(row) for row in connection.execute(_QUERIES["lock_due_across_merchants"], told)]


def add_runs(connection: Connection[Any], runs: Sequence[Run], now: datetime) -> list[tuple[UUID, Hint]]:
    """Make jobs of `runs`, as their templates say; answers (template, hint) for those that were not there yet (I5)."""
    if not runs:
        return []
    rows = connection.execute(
        _QUERIES["add_runs"],
        {
            "template_ids": [run.template_id for run in runs],
            "ids": [run.id for run in runs],
            "nominal_ats": [run.nominal_at for run in runs],
            "scheduled_ats": [run.scheduled_at for run in runs],
            "withdrawals": _WITHDRAWALS,
            "now": now,
        },
    )
    return [(row[0], Hint(*row[1:])) for row in rows]


def advance(connection: Connection[Any], steps: Sequence[Step]) -> None:
    """Move timetables on. Raises StaleTransitionError where one no longer stands where it stood."""
    if not steps:
        return
    moved = connection.execute(
        _QUERIES["advance"],
        {
            "ids": [step.timetable.id for step in steps],
            "stood_at": [step.timetable.next_nominal_at for step in steps],
            "next_nominal_ats": [step.next_nominal_at for step in steps],
            "last_nominal_ats": [step.last_nominal_at for step in steps],
            "made": [step.made for step in steps],
        },
    ).rowcount
    if moved != len(steps):
        raise StaleTransitionError(f"{len(steps) - moved} templates have moved on meanwhile")


def _name_is_taken(template: Template) -> ConflictError:
    return ConflictError(f"there is a template named {template.name!r} already")


def _timetable_of(row: Sequence[Any]) -> dict[str, Any]:
    return {
        "id": row[0],
        "merchant_id": row[1],
        "active": row[2],
        "schedule": Schedule(
            cron=row[3], interval_seconds=row[4], timezone=row[5], start_at=row[6], end_at=row[7], created_at=row[8]
        ),
        "max_runs": row[9],
        "jitter_seconds": row[10],
        "catch_up": CatchUp(row[11]),
        "catch_up_window_seconds": row[12],
        "runs": row[13],
        "last_nominal_at": row[14],
        "next_nominal_at": row[15],
    }


def _timetable(row: Sequence[Any]) -> Timetable:
    return Timetable(**_timetable_of(row), run_bytes=row[16])


def _template(row: Sequence[Any]) -> Template:
    return Template(
        **_timetable_of(row),
        name=row[16],
        description=row[17],
        paused_reason=row[18],
        target=row[19],
        payload=row[20],
        metadata=row[21],
        priority=row[22],
        max_retries=row[23],
        retry=RetryPolicy(initial_seconds=row[24], max_seconds=row[25], multiplier=row[26]),
        timeout_seconds=row[27],
        created_at=row[8],
        updated_at=row[28],
        last_run_at=row[29],
        run_bytes=len(row[19]) + len(row[20] or "") + len(row[21]),
    )


def _columns(merchant_id: UUID, template: Template) -> dict[str, Any]:
    return {
        "id": template.id,
        "merchant_id": merchant_id,
        "name": template.name,
        "description": template.description,
        "active": template.active,
        "paused_reason": template.paused_reason,
        "cron": template.schedule.cron,
        "interval_seconds": template.schedule.interval_seconds,
        "timezone": template.schedule.timezone,
        "start_at": template.schedule.start_at,
        "end_at": template.schedule.end_at,
        "max_runs": template.max_runs,
        "jitter_seconds": template.jitter_seconds,
        "catch_up": template.catch_up.value,
        "catch_up_window_seconds": template.catch_up_window_seconds,
        "target": template.target,
        "payload": template.payload,
        "metadata": template.metadata,
        "priority": template.priority,
        "max_retries": template.max_retries,
        "retry_initial_seconds": template.retry.initial_seconds,
        "retry_max_seconds": template.retry.max_seconds,
        "retry_multiplier": template.retry.multiplier,
        "timeout_seconds": template.timeout_seconds,
        "runs": template.runs,
        "last_nominal_at": template.last_nominal_at,
        "next_nominal_at": template.next_nominal_at,
        "created_at": template.created_at,
        "updated_at": template.updated_at,
    }
