"""What the routes of templates answer, as models: for the OpenAPI document and for tests, not for serialising."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.jobs import Retry
from api.schemas.targets import Target
from api.schemas.views import View
from scheduler_core.domain.templates import CatchUp


class Template(View):
    """A template."""

    id: UUID
    name: str
    description: str | None
    active: bool
    paused_reason: str | None = Field(description="why the scheduler paused it; null where its producer did")
    cron: str | None
    interval_seconds: int | None
    timezone: str
    start_at: datetime | None
    end_at: datetime | None
    max_runs: int | None
    jitter_seconds: int
    catch_up: CatchUp
    catch_up_window_seconds: int
    target: Target
    payload: Any
    priority: int
    max_retries: int
    retry: Retry
    timeout_seconds: int
    metadata: dict[str, str]
    runs: int = Field(
        description="runs made so far, some minutes ahead of time; those that a pause cancelled do not count"
    )
    next_run_at: datetime | None = Field(description="the next time in its schedule; null: paused, or no run is left")
    last_run_at: datetime | None = Field(description="the latest time that has passed and has a run")
    created_at: datetime
    updated_at: datetime


class TemplatePage(View):
    """A page of templates, newest first."""

    items: list[Template]
    next_cursor: str | None


class NominalTime(View):
    """One time in a schedule."""

    nominal_at: datetime = Field(description="UTC")
    local_time: datetime = Field(description="the same moment in the schedule's time zone")


class Preview(View):
    """The next times in a schedule."""

    items: list[NominalTime]


TEMPLATE_VIEWS: tuple[type[BaseModel], ...] = (Template, TemplatePage, Preview)
"""Every model that a route of templates names in its answers."""
