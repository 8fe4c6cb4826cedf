"""From a body to a template, and from a template to its JSON."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from api.accepting import metadata_text, payload_text, retry_faults, retry_policy
from api.faults import Fault, InvalidRequestError
from api.rendering import moment, number, text
from api.schemas.targets import target_text
from api.schemas.templates import TemplateCreate, TemplatePatch, Timing
from scheduler_core.domain.errors import InvalidScheduleError
from scheduler_core.domain.recurrence import Schedule, zone
from scheduler_core.domain.templates import Template, Timetable, next_run_at

_PLAIN: Final = (
    "name", "description", "active", "max_runs", "jitter_seconds", "catch_up", "catch_up_window_seconds", "priority",
    "max_retries", "timeout_seconds",
)  # fmt: skip
_SCHEDULE: Final = ("cron", "interval_seconds", "timezone", "start_at", "end_at")


@contextmanager
def schedule_faults() -> Iterator[None]:
    """What is wrong with a schedule, told with its place in the body."""
    try:
        yield
    except InvalidScheduleError as error:
        pointer = f"/{error.field}" if error.field else ""
        raise InvalidRequestError(Fault(error.reason, pointer=pointer)) from error


def timetable_of(body: Timing, template_id: UUID, merchant_id: UUID, now: datetime) -> Timetable:
    """The timetable that `body` asks for at `now`, not validated yet."""
    return Timetable(
        id=template_id,
        merchant_id=merchant_id,
        schedule=_schedule_of(body, now),
        max_runs=body.max_runs,
        jitter_seconds=body.jitter_seconds,
        catch_up=body.catch_up,
        catch_up_window_seconds=body.catch_up_window_seconds,
    )


def new_template(body: TemplateCreate, template_id: UUID, merchant_id: UUID, now: datetime) -> Template:
    """The template that `body` asks for at `now`. Raises InvalidRequestError, BodyTooLargeError."""
    faults = tuple(retry_faults(body.retry))
    if faults:
        raise InvalidRequestError(*faults)
    target, payload, metadata = target_text(body.target), payload_text(body.payload), metadata_text(body.metadata)
    return Template(
        id=template_id,
        merchant_id=merchant_id,
        schedule=_schedule_of(body, now),
        target=target,
        payload=payload,
        metadata=metadata,
        retry=retry_policy(body.retry),
        created_at=now,
        updated_at=now,
        run_bytes=len(target) + len(payload or "") + len(metadata),
        **{name: getattr(body, name) for name in _PLAIN},
    )


def edited(template: Template, body: TemplatePatch) -> Template:
    """`template` as `body` changes it. Raises InvalidRequestError, BodyTooLargeError."""
    given = body.model_fields_set
    change: dict[str, Any] = {name: getattr(body, name) for name in _PLAIN if name in given}
    if "target" in given:
        change["target"] = target_text(body.target)
    if "payload" in given:
        change["payload"] = payload_text(body.payload)
    if "metadata" in given:
        change["metadata"] = metadata_text(body.metadata)
    if "retry" in given:
        faults = tuple(retry_faults(body.retry))
        if faults:
            raise InvalidRequestError(*faults)
        change["retry"] = retry_policy(body.retry)
    return replace(template, schedule=_edited_schedule(template.schedule, body), **change)


def _schedule_of(body: Timing, now: datetime) -> Schedule:
    return Schedule(created_at=now, **{name: getattr(body, name) for name in _SCHEDULE})


def _edited_schedule(schedule: Schedule, body: TemplatePatch) -> Schedule:
    change = {name: getattr(body, name) for name in _SCHEDULE if name in body.model_fields_set}
    # Whoever names one of the two means it instead of the other, unless both are named.
    if body.cron is not None:
        change.setdefault("interval_seconds", None)
    if body.interval_seconds is not None:
        change.setdefault("cron", None)
    return replace(schedule, **change)


def template_json(template: Template, now: datetime) -> str:
    """A template as every route answers it."""
    schedule = template.schedule
    return (
        f'{{"id":"{template.id}","name":{text(template.name)},"description":{text(template.description)},'
        f'"active":{"true" if template.active else "false"},"paused_reason":{text(template.paused_reason)},'
        f'"cron":{text(schedule.cron)},"interval_seconds":{number(schedule.interval_seconds)},'
        f'"timezone":{text(schedule.timezone)},"start_at":{moment(schedule.start_at)},'
        f'"end_at":{moment(schedule.end_at)},"max_runs":{number(template.max_runs)},'
        f'"jitter_seconds":{template.jitter_seconds},"catch_up":"{template.catch_up}",'
        f'"catch_up_window_seconds":{template.catch_up_window_seconds},"target":{template.target},'
        f'"payload":{template.payload or "null"},"priority":{template.priority},'
        f'"max_retries":{template.max_retries},"retry":{{"initial_seconds":{number(template.retry.initial_seconds)},'
        f'"max_seconds":{number(template.retry.max_seconds)},"multiplier":{number(template.retry.multiplier)}}},'
        f'"timeout_seconds":{template.timeout_seconds},"metadata":{template.metadata},"runs":{template.runs},'
        f'"next_run_at":{moment(_next_run_at(template, now))},"last_run_at":{moment(template.last_run_at)},'
        f'"created_at":{moment(template.created_at)},"updated_at":{moment(template.updated_at)}}}'
    )


def _next_run_at(template: Template, now: datetime) -> datetime | None:
    try:
        return next_run_at(template, now)
    except InvalidScheduleError:
        return None  # its zone has vanished: recurrence is about to pause it, and it must stay readable


def preview_json(times: Sequence[datetime], timezone: str) -> str:
    """Nominal times as the previews answer them."""
    where = zone(timezone)
    items = (f'{{"nominal_at":{moment(at)},"local_time":"{at.astimezone(where).isoformat()}"}}' for at in times)
    return f'{{"items":[{",".join(items)}]}}'
