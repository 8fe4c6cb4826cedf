"""Changes of templates: in one transaction with their note in the audit log, announced after the commit."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from aws_lambda_powertools.event_handler import Response

from api import accepting, wiring
from api.auditing import audited
from api.callers import Caller
from api.faults import Fault, InvalidRequestError
from api.rendering import job_json, ok
from api.schemas.templates import TemplatePatch
from api.template_forms import edited, schedule_faults, template_json
from scheduler_core.domain.ids import ENTROPY_BYTES, uuid7
from scheduler_core.domain.jobs import Hint
from scheduler_core.domain.templates import Template
from scheduler_core.observability.log import log_event
from scheduler_core.services import template_changes
from scheduler_core.storage import jobs, templates


def create(caller: Caller, template: Template, now: datetime, entropy: bytes) -> Response[str]:
    """Store a template, and its first runs. Raises InvalidRequestError, ConflictError."""
    resource = f"/templates/{template.id}"
    with schedule_faults(), audited(caller, resource, "template.created", now, entropy) as connection:
        hints = template_changes.create(connection, caller.merchant_id, template, now, wiring.settings())
        stored = templates.get(connection, caller.merchant_id, template.id, now)
    _announce(template.id, hints, now)
    return ok(template_json(stored, now), 201, Location=resource)


def edit(caller: Caller, template_id: UUID, body: TemplatePatch, now: datetime, entropy: bytes) -> Response[str]:
    """Change a template. Raises InvalidRequestError, BodyTooLargeError, NotFoundError, ConflictError."""
    if not body.model_fields_set:
        raise InvalidRequestError(Fault("should name at least one field to change", pointer=""))
    if "target" in body.model_fields_set:
        accepting.require_allowed(caller.merchant_id, body.target)
    with schedule_faults(), audited(caller, f"/templates/{template_id}", "template.edited", now, entropy) as connection:
        hints = template_changes.change(
            connection,
            caller.merchant_id,
            template_id,
            lambda template: edited(template, body),
            now,
            wiring.settings(),
        )
        stored = templates.get(connection, caller.merchant_id, template_id, now)
    _announce(template_id, hints, now)
    return ok(template_json(stored, now))


def remove(caller: Caller, template_id: UUID, now: datetime, entropy: bytes) -> Response[str]:
    """Remove a template and cancel what has not started. Raises NotFoundError."""
    with audited(caller, f"/templates/{template_id}", "template.deleted", now, entropy) as connection:
        template_changes.delete(connection, caller.merchant_id, template_id, now)
    return Response(204, body="")


def run_now(caller: Caller, template_id: UUID, now: datetime, entropy: bytes) -> Response[str]:
    """Make one job outside the schedule, due now. Raises NotFoundError."""
    job_id = uuid7(now, entropy[ENTROPY_BYTES:])
    with audited(caller, f"/templates/{template_id}", "template.run", now, entropy) as connection:
        hint = templates.run_now(connection, caller.merchant_id, template_id, job_id, now)
        job = jobs.get(connection, caller.merchant_id, job_id)
    wiring.announcer().announce(now, [hint])
    if wiring.settings().job_events:
        log_event(
            "job.created",
            "a job was created",
            job_id=str(job_id),
            merchant_id=str(caller.merchant_id),
            scheduled_at=now.isoformat(),
            reference_id=None,
        )
    return ok(job_json(job), 202, Location=f"/jobs/{job_id}")


def _announce(template_id: UUID, hints: Sequence[Hint], now: datetime) -> None:
    if not hints:
        return
    wiring.announcer().announce(now, hints)
    if wiring.settings().job_events:
        log_event(
            "template.materialised",
            "runs of a template were made",
            template_id=str(template_id),
            merchant_id=str(hints[0].merchant_id),
            runs=len(hints),
            first_nominal_at=min(hint.due_at for hint in hints).isoformat(),
        )
