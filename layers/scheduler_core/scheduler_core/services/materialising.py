"""Materialising: a template's nominal times inside the look-ahead become jobs.

The recurrence function does it every minute for all templates; the API at once for one that was made, changed or
resumed, so that an every-second template starts within the second.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection

from scheduler_core.domain.jobs import Hint
from scheduler_core.domain.templates import RunPlan, Timetable, run_for, runs_due
from scheduler_core.settings import RecurrenceSettings
from scheduler_core.storage import templates
from scheduler_core.storage.templates import Step

STATEMENT_BYTES = 32 * 1024 * 1024
"""How much one template's runs may add to the database at once (I8)."""


def materialise(
    connection: Connection[Any], timetable: Timetable, now: datetime, settings: RecurrenceSettings
) -> list[Hint]:
    """Make the runs that one template is due for; the caller holds the template, and announces after commit."""
    return store(connection, [(timetable, plan(timetable, now, settings))], now)


def plan(timetable: Timetable, now: datetime, settings: RecurrenceSettings) -> RunPlan:
    """What `materialise` would do: pure."""
    affordable = max(1, STATEMENT_BYTES // max(timetable.run_bytes, 1))
    look_ahead = timedelta(seconds=settings.look_ahead_seconds)
    return runs_due(timetable, now, look_ahead, min(settings.runs_per_template, affordable))


def store(connection: Connection[Any], plans: Sequence[tuple[Timetable, RunPlan]], now: datetime) -> list[Hint]:
    """Carry plans out, in two statements; the caller holds the templates. Answers the runs that were not there yet."""
    runs = [run_for(timetable, nominal_at) for timetable, it in plans for nominal_at in it.nominal_times]
    added = templates.add_runs(connection, runs, now)
    made = Counter(template_id for template_id, _ in added)
    steps = [_step(timetable, it, made[timetable.id]) for timetable, it in plans if timetable.next_nominal_at]
    templates.advance(connection, steps)
    return [hint for _, hint in added]


def _step(timetable: Timetable, it: RunPlan, made: int) -> Step:
    used_up = timetable.max_runs is not None and timetable.runs + made >= timetable.max_runs
    return Step(
        timetable=timetable,
        next_nominal_at=None if used_up else it.next_nominal_at,
        last_nominal_at=it.nominal_times[-1] if it.nominal_times else None,
        made=made,
    )
