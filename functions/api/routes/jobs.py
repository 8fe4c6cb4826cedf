"""`/jobs`: make, find, change, cancel, run and redrive."""

import os
from typing import Annotated
from uuid import UUID

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Header, Query
from pydantic import StringConstraints

from api import accepting, changing, wiring
from api.app import Resource, needs
from api.batching import Batch, Targets
from api.contract import answers
from api.cursors import cursor_of_id, cursor_of_number, id_of_cursor, number_of_cursor
from api.rendering import execution_json, job_json, ok, page_json
from api.schemas.fields import Moment, ReferenceId
from api.schemas.jobs import JobBatch, JobCreate, JobPatch
from api.storing import once, store, store_all
from scheduler_core.clock import utc_now
from scheduler_core.domain.ids import ENTROPY_BYTES, uuid7
from scheduler_core.domain.lifecycle import JobStatus
from scheduler_core.storage import jobs
from scheduler_core.storage.idempotency import Answer

router = Resource()

IdempotencyKey = Annotated[
    Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")] | None,
    Header(alias="Idempotency-Key", description="1-255 visible ASCII characters, remembered for 24 hours"),
]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before")]


@router.post(
    "/jobs",
    summary="Make a job",
    tags=["jobs"],
    security=needs("jobs:write"),
    responses=answers(201, "Job", "the job, with its address in Location", 413, 422),
)
def create_job(body: JobCreate, idempotency_key: IdempotencyKey = None) -> Response[str]:
    caller, now = router.caller, utc_now()
    job_id = uuid7(now, os.urandom(ENTROPY_BYTES))
    new = accepting.new_job(body, job_id, caller.merchant_id, now)
    accepting.require_allowed(caller.merchant_id, body.target)
    answer = Answer(201, f"/jobs/{job_id}", job_json(changing.as_stored(new, now)))
    return store(caller, new, answer, once(idempotency_key, "/jobs", body), now)


@router.post(
    "/jobs/batch",
    summary="Make up to 1,000 jobs",
    description="Every job is judged on its own: the good ones are stored, in one transaction, even if others are bad.",
    tags=["jobs"],
    security=needs("jobs:write"),
    responses=answers(200, "BatchOutcome", "an outcome for each job, in the order given", 413, 422),
)
def create_jobs(body: JobBatch, idempotency_key: IdempotencyKey = None) -> Response[str]:
    caller, now = router.caller, utc_now()
    targets = Targets(body.jobs)
    rules = accepting.rules_about(caller.merchant_id, targets.urls, has_arns=targets.has_arns)
    entropy = os.urandom(ENTROPY_BYTES * len(body.jobs))
    batch = Batch(body.jobs, targets, rules, caller.merchant_id, now, entropy)
    return store_all(caller, batch, once(idempotency_key, "/jobs/batch", body.jobs), now)


@router.get(
    "/jobs",
    summary="List jobs, newest first",
    description=(
        "A page looks at 10,000 jobs at most, and holds 2 MiB at most: it may be short, even empty, and still have a "
        "`next_cursor`. The list has ended where that is null."
    ),
    tags=["jobs"],
    security=needs("jobs:read"),
    responses=answers(200, "JobPage", "a page of jobs", 422),
)
def list_jobs(
    status: Annotated[list[JobStatus] | None, Query(description="one, or several separated by commas")] = None,
    template_id: Annotated[UUID | None, Query()] = None,
    reference_id: Annotated[ReferenceId | None, Query()] = None,
    scheduled_from: Annotated[Moment | None, Query(description="included")] = None,
    scheduled_to: Annotated[Moment | None, Query(description="not included")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[str]:
    caller = router.caller
    wanted = jobs.JobFilter(
        statuses=status,
        template_id=template_id,
        reference_id=reference_id,
        scheduled_from=scheduled_from,
        scheduled_to=scheduled_to,
    )
    before = None if cursor is None else id_of_cursor(cursor)
    with wiring.database().of_merchant(caller.merchant_id) as connection:
        page = jobs.list_page(connection, caller.merchant_id, wanted, before=before, limit=limit)
    return ok(page_json(map(job_json, page.jobs), None if page.before is None else cursor_of_id(page.before)))


@router.get(
    "/jobs/<job_id>",
    summary="Get a job",
    tags=["jobs"],
    security=needs("jobs:read"),
    responses=answers(200, "Job", "the job", 404),
)
def get_job(job_id: UUID) -> Response[str]:
    caller = router.caller
    with wiring.database().of_merchant(caller.merchant_id) as connection:
        return ok(job_json(jobs.get(connection, caller.merchant_id, job_id)))


@router.get(
    "/jobs/<job_id>/executions",
    summary="List a job's attempts that have ended, first to last",
    tags=["jobs"],
    security=needs("jobs:read"),
    responses=answers(200, "ExecutionPage", "a page of attempts", 404, 422),
)
def list_executions(job_id: UUID, limit: Limit = 50, cursor: Cursor = None) -> Response[str]:
    caller = router.caller
    after = 0 if cursor is None else number_of_cursor(cursor)
    with wiring.database().of_merchant(caller.merchant_id) as connection:
        found = jobs.list_executions(connection, caller.merchant_id, job_id, after=after, limit=limit + 1)
    shown = found[:limit]
    next_cursor = cursor_of_number(shown[-1].attempt) if len(found) > limit else None
    return ok(page_json(map(execution_json, shown), next_cursor))


@router.patch(
    "/jobs/<job_id>",
    summary="Change a job that waits",
    description="A new `scheduled_at` moves the next run, of a retrying job too.",
    tags=["jobs"],
    security=needs("jobs:write"),
    responses=answers(200, "Job", "the job as it is now", 404, 409, 413, 422),
)
def edit_job(job_id: UUID, body: JobPatch) -> Response[str]:
    caller = router.caller
    return changing.edit(caller, job_id, body, utc_now(), os.urandom(ENTROPY_BYTES))


@router.delete(
    "/jobs/<job_id>",
    summary="Cancel a job; a delivery that is under way is cut off",
    tags=["jobs"],
    security=needs("jobs:write"),
    responses=answers(200, "Job", "the job, cancelled", 404, 409),
)
def cancel_job(job_id: UUID) -> Response[str]:
    return changing.cancel(router.caller, job_id, utc_now(), os.urandom(ENTROPY_BYTES))


@router.post(
    "/jobs/<job_id>/run",
    summary="Make a waiting job due now",
    tags=["jobs"],
    security=needs("jobs:write"),
    responses=answers(202, "Job", "the job, due now", 404, 409),
)
def run_job(job_id: UUID) -> Response[str]:
    return changing.run_now(router.caller, job_id, utc_now(), os.urandom(ENTROPY_BYTES))


@router.post(
    "/jobs/<job_id>/retry",
    summary="Redrive a failed or cancelled job",
    description=(
        "Its retries start anew and it is due now; `attempt` counts on. An `expires_at` that has passed is dropped, "
        "because to ask for a redrive is to want the delivery."
    ),
    tags=["jobs"],
    security=needs("jobs:write"),
    responses=answers(202, "Job", "the job, pending", 404, 409),
)
def retry_job(job_id: UUID) -> Response[str]:
    return changing.redrive(router.caller, job_id, utc_now(), os.urandom(ENTROPY_BYTES))
