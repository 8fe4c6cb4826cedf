"""Changes of a stored job: guarded, noted in the audit log in the same transaction, announced after the commit."""

from datetime import datetime
from uuid import UUID

from aws_lambda_powertools.event_handler import Response

from api import accepting, wiring
from api.auditing import audited
from api.callers import Caller
from api.faults import Fault, InvalidRequestError
from api.rendering import job_json, ok
from api.schemas.jobs import JobPatch
from api.schemas.targets import target_text
from scheduler_core.domain.jobs import Hint, NewJob
from scheduler_core.domain.lifecycle import JobStatus
from scheduler_core.observability.log import log_event
from scheduler_core.storage import jobs
from scheduler_core.storage.jobs import JobEdit, JobRow


def edit(caller: Caller, job_id: UUID, body: JobPatch, now: datetime, entropy: bytes) -> Response[str]:
    """Change a waiting job. Raises InvalidRequestError, NotFoundError, StaleTransitionError."""
    given = body.model_fields_set
    if not given:
        raise InvalidRequestError(Fault("should name at least one field to change", pointer=""))
    if "target" in given:
        accepting.require_allowed(caller.merchant_id, body.target)
    change = JobEdit(
        scheduled_at=body.scheduled_at,
        priority=body.priority,
        max_retries=body.max_retries,
        timeout_seconds=body.timeout_seconds,
        target=target_text(body.target) if "target" in given else None,
        metadata=accepting.metadata_text(body.metadata) if "metadata" in given else None,
        payload=accepting.payload_text(body.payload),
        sets_payload="payload" in given,
    )
    with audited(caller, f"/jobs/{job_id}", "job.edited", now, entropy) as connection:
        jobs.edit(connection, caller.merchant_id, job_id, change, now)
        job = jobs.get(connection, caller.merchant_id, job_id)
    if given & {"scheduled_at", "priority"}:
        _announce(caller, job, now)
    return ok(job_json(job))


def cancel(caller: Caller, job_id: UUID, now: datetime, entropy: bytes) -> Response[str]:
    """Cancel a job that has not ended. Raises NotFoundError, StaleTransitionError."""
    with audited(caller, f"/jobs/{job_id}", "job.cancelled", now, entropy) as connection:
        was_running = jobs.cancel(connection, caller.merchant_id, job_id, now)
        job = jobs.get(connection, caller.merchant_id, job_id)
    if was_running:
        wiring.announcer().announce_cancelled(now, Hint(caller.merchant_id, job_id, now, job.priority))
    if wiring.settings().job_events:
        log_event("job.cancelled", "a job was cancelled", job_id=str(job_id), merchant_id=str(caller.merchant_id))
    return ok(job_json(job))


def run_now(caller: Caller, job_id: UUID, now: datetime, entropy: bytes) -> Response[str]:
    """Make a waiting job due now. Raises NotFoundError, StaleTransitionError."""
    with audited(caller, f"/jobs/{job_id}", "job.run", now, entropy) as connection:
        jobs.run_now(connection, caller.merchant_id, job_id, now)
        job = jobs.get(connection, caller.merchant_id, job_id)
    _announce(caller, job, now)
    return ok(job_json(job), 202)


def redrive(caller: Caller, job_id: UUID, now: datetime, entropy: bytes) -> Response[str]:
    """Give a failed or cancelled job a new life. Raises NotFoundError, StaleTransitionError."""
    with audited(caller, f"/jobs/{job_id}", "job.redriven", now, entropy) as connection:
        jobs.redrive(connection, caller.merchant_id, job_id, now)
        job = jobs.get(connection, caller.merchant_id, job_id)
    _announce(caller, job, now)
    return ok(job_json(job), 202)


def _announce(caller: Caller, job: JobRow, now: datetime) -> None:
    if job.next_run_at is not None:
        wiring.announcer().announce(now, [Hint(caller.merchant_id, job.id, job.next_run_at, job.priority)])


def as_stored(new: NewJob, now: datetime) -> JobRow:
    """The row that a new job becomes, without reading it back."""
    return JobRow(
        id=new.id,
        template_id=None,
        nominal_at=None,
        schedule_type=new.schedule_type.value,
        status=JobStatus.PENDING.value,
        priority=new.priority,
        attempt=0,
        retries=0,
        polls=0,
        max_retries=new.max_retries,
        max_attempts=new.max_attempts,
        interval_seconds=new.interval_seconds,
        timeout_seconds=new.timeout_seconds,
        retry_initial_seconds=new.retry.initial_seconds,
        retry_max_seconds=new.retry.max_seconds,
        retry_multiplier=new.retry.multiplier,
        scheduled_at=new.scheduled_at,
        next_run_at=max(new.scheduled_at, now),
        expires_at=new.expires_at,
        last_run_at=None,
        completed_at=None,
        created_at=now,
        updated_at=now,
        reference_id=new.reference_id,
        last_error=None,
        target=new.target,
        payload=new.payload,
        metadata=new.metadata,
    )
