"""Templates: what they are made of, and which of their runs are due to become jobs."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never
from uuid import UUID

from scheduler_core.domain.ids import milliseconds, run_id
from scheduler_core.domain.jobs import RetryPolicy
from scheduler_core.domain.recurrence import Schedule, last_nominal_before, next_nominal_at, nominal_times, preview

MAX_JITTER_SECONDS: Final = 86_400
MAX_RUNS: Final = 1_000_000_000
MAX_CATCH_UP_WINDOW_SECONDS: Final = 604_800
_FURTHEST_END: Final = 10_000
_JUST_BEFORE: Final = timedelta(milliseconds=1)


class CatchUp(StrEnum):
    """What becomes of the nominal times that passed while nobody could make runs of them."""

    ONCE = "once"
    """One run, for the latest of them."""
    ALL = "all"
    """A run for each of them."""
    NONE = "none"
    """None of them runs."""


class Withdrawal(StrEnum):
    """Why a run was cancelled on its template's account. Such a run comes back when its nominal time is due again."""

    PAUSED = "its template was paused"
    RESCHEDULED = "its template's schedule was changed"
    DELETED = "its template was deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """The part of a template that decides when it runs, and how far it has got."""

    id: UUID
    merchant_id: UUID
    active: bool = True
    schedule: Schedule
    max_runs: int | None = None
    jitter_seconds: int = 0
    catch_up: CatchUp = CatchUp.ONCE
    catch_up_window_seconds: int = 86_400
    """How far back a missed nominal time is worth a run."""
    runs: int = 0
    """Runs made so far, without those that were withdrawn."""
    last_nominal_at: datetime | None = None
    """No run exists for a later nominal time; lies ahead by up to the look-ahead."""
    next_nominal_at: datetime | None = None
    """The first nominal time not yet made into a run; None: there is none."""
    run_bytes: int = 0
    """How much a run stores, roughly; only known where it matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template(Timetable):
    """A whole template. `target`, `payload` and `metadata` are JSON text."""

    name: str
    description: str | None = None
    paused_reason: str | None = None
    target: str
    payload: str | None = None
    metadata: str = "{}"
    priority: int = 0
    max_retries: int = 3
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_seconds: int = 30
    created_at: datetime
    updated_at: datetime
    last_run_at: datetime | None = None
    """The latest nominal time that has passed with a run. Read, never written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What to do about a timetable: make runs for these nominal times and go on from `next_nominal_at`."""

    nominal_times: tuple[datetime, ...] = ()
    next_nominal_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run that is due to become a job."""

    id: UUID
    template_id: UUID
    nominal_at: datetime
    scheduled_at: datetime


def runs_due(timetable: Timetable, now: datetime, look_ahead: timedelta, most: int) -> RunPlan:
    """The runs to make now: the missed ones that its policy wants, and those up to `now + look_ahead`; `most` at most.

    Where there are more, `next_nominal_at` is not after `now + look_ahead`: ask again.
    """
    room = most if timetable.max_runs is None else min(most, timetable.max_runs - timetable.runs)
    if timetable.next_nominal_at is None or room <= 0:
        return RunPlan(next_nominal_at=None)
    chosen: list[datetime] = []
    for nominal_at in _from(timetable, now):
        if nominal_at > now + look_ahead or len(chosen) == room:
            return RunPlan(nominal_times=tuple(chosen), next_nominal_at=nominal_at)
        chosen.append(nominal_at)
    return RunPlan(nominal_times=tuple(chosen), next_nominal_at=None)


def _from(timetable: Timetable, now: datetime) -> Iterator[datetime]:
    """The nominal times still to be made, from the first one that the catch-up policy lets through."""
    first = timetable.next_nominal_at
    if first is not None and first < now:
        first = _after_downtime(timetable, first, now)
    if first is not None:
        yield first
        yield from nominal_times(timetable.schedule, first)


def _after_downtime(timetable: Timetable, missed: datetime, now: datetime) -> datetime | None:
    oldest = max(missed, now - timedelta(seconds=timetable.catch_up_window_seconds))
    match timetable.catch_up:
        case CatchUp.NONE:
            return _from_then_on(timetable, now)
        case CatchUp.ALL:
            return missed if missed == oldest else _from_then_on(timetable, oldest)
        case CatchUp.ONCE:
            return last_nominal_before(timetable.schedule, oldest, now) or _from_then_on(timetable, now)
        case _:
            assert_never(timetable.catch_up)


def _from_then_on(timetable: Timetable, moment: datetime) -> datetime | None:
    return next_nominal_at(timetable.schedule, moment - _JUST_BEFORE)


def run_for(timetable: Timetable, nominal_at: datetime) -> Run:
    """The run of one nominal time. Always the same: its id (I5) and its jitter come from the template and the time."""
    return Run(
        id=run_id(timetable.id, nominal_at),
        template_id=timetable.id,
        nominal_at=nominal_at,
        scheduled_at=nominal_at + _jitter(timetable, nominal_at),
    )


def _jitter(timetable: Timetable, nominal_at: datetime) -> timedelta:
    digest = hashlib.sha256(b"jitter" + timetable.id.bytes + milliseconds(nominal_at).to_bytes(8, "big")).digest()
    share = int.from_bytes(digest[:8], "big") % (timetable.jitter_seconds * 1_000 + 1)
    return timedelta(milliseconds=share)


def first_nominal_at(timetable: Timetable, now: datetime) -> datetime | None:
    """Where a new, resumed or rescheduled template begins: strictly after `now`; what was missed stays missed."""
    return next_nominal_at(timetable.schedule, now) if timetable.active else None


def next_run_at(timetable: Timetable, now: datetime) -> datetime | None:
    """The next nominal time after `now`, whether its job exists already or not; None: none comes by itself."""
    if not timetable.active:
        return None
    coming = next_nominal_at(timetable.schedule, now)
    if coming is None or timetable.next_nominal_at is not None:
        return coming
    # All runs are made; those within the look-ahead are still to come.
    return coming if timetable.last_nominal_at is not None and coming <= timetable.last_nominal_at else None


def coming(timetable: Timetable, after: datetime, count: int, now: datetime) -> list[datetime]:
    """The next `count` nominal times after `after`, at any moment, paused or not, without those beyond `max_runs`.

    `max_runs` is not looked for further than 10,000 runs ahead.
    """
    times = preview(timetable.schedule, after, count)
    if timetable.max_runs is None:
        return times
    made_until = max(timetable.last_nominal_at or now, now) if timetable.active else now
    left = timetable.max_runs - timetable.runs
    if left > _FURTHEST_END:
        return times
    ahead = preview(timetable.schedule, made_until, left)
    return [at for at in times if at <= (ahead[-1] if ahead else made_until)]
