"""What producers do to templates, each inside one transaction of its merchant. Callers announce the hints after commit.

- A new schedule takes effect at once: runs to come that wait unstarted are cancelled and made anew from now on.
- A new target, payload or other delivery setting reaches the runs that wait unstarted, too.
- Pausing cancels what waits unstarted. Resuming begins strictly after now: what a pause passed over is not caught up,
  and a nominal time that has had its run does not get another (I5).
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection

from scheduler_core.domain import recurrence
from scheduler_core.domain.jobs import Hint
from scheduler_core.domain.templates import Template, Withdrawal, first_nominal_at
from scheduler_core.services.materialising import materialise
from scheduler_core.settings import RecurrenceSettings
from scheduler_core.storage import templates

_DELIVERY = ("target", "payload", "metadata", "priority", "max_retries", "retry", "timeout_seconds")
_TIMING = ("schedule", "max_runs", "jitter_seconds")


def create(
    connection: Connection[Any], merchant_id: UUID, template: Template, now: datetime, settings: RecurrenceSettings
) -> list[Hint]:
    """Store a new template, make its first runs. Raises InvalidScheduleError, ConflictError where its name is taken."""
    recurrence.validate(template.schedule, now)
    begun = replace(template, next_nominal_at=first_nominal_at(template, now))
    templates.create(connection, merchant_id, begun)
    return materialise(connection, begun, now, settings)


def change(
    connection: Connection[Any],
    merchant_id: UUID,
    template_id: UUID,
    edit: Callable[[Template], Template],
    now: datetime,
    settings: RecurrenceSettings,
) -> list[Hint]:
    """Replace the template by what `edit` makes of it. Raises NotFoundError, InvalidScheduleError, ConflictError."""
    before = templates.lock(connection, merchant_id, template_id, now)
    after = replace(edit(before), updated_at=now)
    rescheduled = any(getattr(before, name) != getattr(after, name) for name in _TIMING)
    resumed = after.active and not before.active
    if rescheduled or resumed:
        recurrence.validate(after.schedule, now)
    if before.active and not after.active:
        after = _stopped(after, templates.withdraw(connection, merchant_id, template_id, Withdrawal.PAUSED, now), now)
    elif after.active and (rescheduled or resumed):
        reason = Withdrawal.RESCHEDULED
        after = _stopped(after, templates.withdraw(connection, merchant_id, template_id, reason, now, after=now), now)
        after = replace(after, paused_reason=None, next_nominal_at=first_nominal_at(after, now))
    templates.change(connection, merchant_id, after)
    hints = []
    if any(getattr(before, name) != getattr(after, name) for name in _DELIVERY):
        hints = templates.refresh_runs(connection, merchant_id, template_id, now)
    return hints + materialise(connection, after, now, settings)


def _stopped(template: Template, withdrawn: int, now: datetime) -> Template:
    last = template.last_nominal_at
    return replace(
        template,
        runs=max(template.runs - withdrawn, 0),
        last_nominal_at=None if last is None else min(last, now),
        next_nominal_at=None,
    )


def delete(connection: Connection[Any], merchant_id: UUID, template_id: UUID, now: datetime) -> None:
    """Cancel what waits unstarted and remove the template; its jobs stay. Raises NotFoundError."""
    templates.lock(connection, merchant_id, template_id, now)
    templates.withdraw(connection, merchant_id, template_id, Withdrawal.DELETED, now)
    templates.delete(connection, merchant_id, template_id)
