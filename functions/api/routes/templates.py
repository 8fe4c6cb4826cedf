"""`/templates`: make, find, change, pause, remove, preview and run."""

import os
from typing import Annotated
from uuid import UUID

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query

from api import accepting, wiring
from api.app import Resource, needs
from api.contract import answers
from api.cursors import cursor_of_id, id_of_cursor
from api.rendering import ok, page_json
from api.routes.jobs import Cursor, Limit
from api.schemas.fields import Moment
from api.schemas.templates import Name, TemplateCreate, TemplatePatch, TemplatePreview
from api.template_forms import new_template, preview_json, schedule_faults, template_json, timetable_of
from api.templating import create, edit, remove, run_now
from scheduler_core.clock import utc_now
from scheduler_core.domain import recurrence
from scheduler_core.domain.ids import ENTROPY_BYTES, uuid7
from scheduler_core.domain.templates import coming
from scheduler_core.storage import templates

router = Resource()

Count = Annotated[int, Query(ge=1, le=100)]
After = Annotated[Moment | None, Query(description="any moment; now unless told")]


@router.post(
    "/templates",
    summary="Make a template",
    description="Its first runs are made at once, so it needs no tick to begin.",
    tags=["templates"],
    security=needs("templates:write"),
    responses=answers(201, "Template", "the template, with its address in Location", 409, 413, 422),
)
def create_template(body: TemplateCreate) -> Response[str]:
    caller, now = router.caller, utc_now()
    accepting.require_allowed(caller.merchant_id, body.target)
    template_id = uuid7(now, os.urandom(ENTROPY_BYTES))
    template = new_template(body, template_id, caller.merchant_id, now)
    return create(caller, template, now, os.urandom(ENTROPY_BYTES))


@router.post(
    "/templates/preview",
    summary="What a template would do",
    description="The body of `POST /templates`, of which only the schedule is needed. Nothing is stored.",
    tags=["templates"],
    security=needs("templates:read"),
    responses=answers(200, "Preview", "the next times in the schedule", 413, 422),
)
def preview_unsaved(body: TemplatePreview, count: Count = 10, after: After = None) -> Response[str]:
    caller, now = router.caller, utc_now()
    template_id = uuid7(now, os.urandom(ENTROPY_BYTES))
    timetable = timetable_of(body, template_id, caller.merchant_id, now)
    with schedule_faults():
        recurrence.validate(timetable.schedule, now)
    return ok(preview_json(coming(timetable, after or now, count, now), timetable.schedule.timezone))


@router.get(
    "/templates",
    summary="List templates, newest first",
    description=(
        "A page looks at 10,000 templates at most, and holds 2 MiB at most: it may be short, even empty, and still "
        "have a `next_cursor`. The list has ended where that is null."
    ),
    tags=["templates"],
    security=needs("templates:read"),
    responses=answers(200, "TemplatePage", "a page of templates", 422),
)
def list_templates(
    active: Annotated[bool | None, Query()] = None,
    name: Annotated[Name | None, Query(description="exactly this name")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[str]:
    caller, now = router.caller, utc_now()
    before = None if cursor is None else id_of_cursor(cursor)
    with wiring.database().of_merchant(caller.merchant_id) as connection:
        page = templates.list_page(
            connection, caller.merchant_id, active=active, name=name, before=before, limit=limit, now=now
        )
    items = [template_json(template, now) for template in page.templates]
    return ok(page_json(items, None if page.before is None else cursor_of_id(page.before)))


@router.get(
    "/templates/<template_id>",
    summary="Get a template",
    tags=["templates"],
    security=needs("templates:read"),
    responses=answers(200, "Template", "the template", 404),
)
def get_template(template_id: UUID) -> Response[str]:
    caller, now = router.caller, utc_now()
    with wiring.database().of_merchant(caller.merchant_id) as connection:
        return ok(template_json(templates.get(connection, caller.merchant_id, template_id, now), now))


@router.patch(
    "/templates/<template_id>",
    summary="Change, pause or resume a template",
    description=(
        "A new schedule, max_runs or jitter cancels the runs to come that have not started, and makes them anew from "
        "now on. A new target, payload or other delivery setting reaches them too. `active: false` cancels what has "
        "not started; `true` begins strictly after now: a pause is not caught up, and no nominal time runs twice"
    ),
    tags=["templates"],
    security=needs("templates:write"),
    responses=answers(200, "Template", "the template as it is now", 404, 409, 413, 422),
)
def edit_template(template_id: UUID, body: TemplatePatch) -> Response[str]:
    return edit(router.caller, template_id, body, utc_now(), os.urandom(ENTROPY_BYTES))


@router.delete(
    "/templates/<template_id>",
    summary="Remove a template; what has not started is cancelled, its jobs stay",
    tags=["templates"],
    security=needs("templates:write"),
    responses=answers(204, None, "it is gone", 404),
)
def delete_template(template_id: UUID) -> Response[str]:
    return remove(router.caller, template_id, utc_now(), os.urandom(ENTROPY_BYTES))


@router.get(
    "/templates/<template_id>/preview",
    summary="What a template will do; a paused one: would",
    tags=["templates"],
    security=needs("templates:read"),
    responses=answers(200, "Preview", "the next times in the schedule", 404, 422),
)
def preview_template(template_id: UUID, count: Count = 10, after: After = None) -> Response[str]:
    caller, now = router.caller, utc_now()
    with wiring.database().of_merchant(caller.merchant_id) as connection:
        template = templates.get(connection, caller.merchant_id, template_id, now)
    with schedule_faults():
        return ok(preview_json(coming(template, after or now, count, now), template.schedule.timezone))


@router.post(
    "/templates/<template_id>/run",
    summary="Run a template now, outside its schedule",
    description="Paused ones too. The job has no `nominal_at` and does not count against `max_runs`.",
    tags=["templates"],
    security=needs("templates:write"),
    responses=answers(202, "Job", "the job, due now", 404),
)
def run_template(template_id: UUID) -> Response[str]:
    return run_now(router.caller, template_id, utc_now(), os.urandom(2 * ENTROPY_BYTES))
