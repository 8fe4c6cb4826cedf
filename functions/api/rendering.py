"""Rows as JSON text. Written out by hand, because targets and payloads are JSON text already and stay what they are."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from aws_lambda_powertools.event_handler import Response

from scheduler_core.storage.jobs import ExecutionRow, JobRow

_JSON: Final = "application/json"
_WITHOUT_OFFSET: Final = len("2027-01-31T09:30:00.000000")


def ok(body: str, status: int = 200, **headers: str) -> Response[str]:
    """A JSON response whose body is text already; `Location="/jobs/1"` gives a header."""
    return Response(status, _JSON, body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def moment(value: datetime | None) -> str:
    """`"2027-01-31T09:30:00.000000Z"` or `null`, as JSON; `value` is in UTC."""
    return "null" if value is None else f'"{value.isoformat(timespec="microseconds")[:_WITHOUT_OFFSET]}Z"'


def text(value: str | None) -> str:
    """Text or null, as JSON."""
    return "null" if value is None else json.dumps(value)


def number(value: float | None) -> str:
    """A number or null, as JSON; whole numbers without a fraction."""
    if value is None:
        return "null"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def identifier(value: UUID | None) -> str:
    """An id or null, as JSON."""
    return "null" if value is None else f'"{value}"'


def job_json(job: JobRow) -> str:
    """A job as every route answers it."""
    scheduled_at, created_at = moment(job.scheduled_at), moment(job.created_at)
    # A new job has each of these twice, and to write a moment out is most of the work.
    next_run_at = scheduled_at if job.next_run_at is job.scheduled_at else moment(job.next_run_at)
    updated_at = created_at if job.updated_at is job.created_at else moment(job.updated_at)
    return (
        f'{{"id":"{job.id}","template_id":{identifier(job.template_id)},"nominal_at":{moment(job.nominal_at)},'
        f'"schedule_type":"{job.schedule_type}","status":"{job.status}","target":{job.target},'
        f'"payload":{job.payload or "null"},"scheduled_at":{scheduled_at},'
        f'"next_run_at":{next_run_at},"expires_at":{moment(job.expires_at)},'
        f'"reference_id":{text(job.reference_id)},"priority":{job.priority},"max_retries":{job.max_retries},'
        f'"retry":{{"initial_seconds":{number(job.retry_initial_seconds)},'
        f'"max_seconds":{number(job.retry_max_seconds)},"multiplier":{number(job.retry_multiplier)}}},'
        f'"timeout_seconds":{job.timeout_seconds},"interval_seconds":{number(job.interval_seconds)},'
        f'"max_attempts":{number(job.max_attempts)},"metadata":{job.metadata},"attempt":{job.attempt},'
        f'"retries":{job.retries},"polls":{job.polls},"last_run_at":{moment(job.last_run_at)},'
        f'"completed_at":{moment(job.completed_at)},"last_error":{text(job.last_error)},'
        f'"created_at":{created_at},"updated_at":{updated_at}}}'
    )


def execution_json(execution: ExecutionRow) -> str:
    """An attempt that has ended."""
    return (
        f'{{"attempt":{execution.attempt},"outcome":"{execution.outcome}","due_at":{moment(execution.due_at)},'
        f'"started_at":{moment(execution.started_at)},"finished_at":{moment(execution.finished_at)},'
        f'"http_status":{number(execution.http_status)},"error":{text(execution.error)},'
        f'"response":{text(execution.response)}}}'
    )


def page_json(items: Iterable[str], next_cursor: str | None) -> str:
    """A page of a list."""
    return f'{{"items":[{",".join(items)}],"next_cursor":{text(next_cursor)}}}'
