"""What the API answers, for the OpenAPI document only: answers themselves are written by `rendering`."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.jobs import Retry
from api.schemas.targets import Target
from scheduler_core.domain.jobs import AttemptOutcome
from scheduler_core.domain.lifecycle import JobStatus, ScheduleType


class View(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Job(View):
    """A job."""

    id: UUID
    template_id: UUID | None = Field(description="the template that made it")
    nominal_at: datetime | None = Field(description="the time in the template's schedule that this run stands for")
    schedule_type: ScheduleType
    status: JobStatus
    target: Target
    payload: Any
    scheduled_at: datetime
    next_run_at: datetime | None = Field(description="when it is due; null while it runs and once it has ended")
    expires_at: datetime | None
    reference_id: str | None
    priority: int
    max_retries: int
    retry: Retry
    timeout_seconds: int
    interval_seconds: int | None
    max_attempts: int | None
    metadata: dict[str, str]
    attempt: int = Field(description="attempts started so far; never goes back")
    retries: int = Field(description="retries spent since it was made or last redriven")
    polls: int = Field(description="how often a polling target has said: not yet")
    last_run_at: datetime | None
    completed_at: datetime | None
    last_error: str | None
    created_at: datetime
    updated_at: datetime


class JobPage(View):
    """A page of jobs, newest first."""

    items: list[Job]
    next_cursor: str | None


class Execution(View):
    """An attempt that has ended."""

    attempt: int
    outcome: AttemptOutcome
    due_at: datetime | None
    started_at: datetime
    finished_at: datetime
    http_status: int | None
    error: str | None
    response: str | None = Field(description="the first bytes of the target's answer")


class ExecutionPage(View):
    """A page of attempts, first to last."""

    items: list[Execution]
    next_cursor: str | None


class FaultView(View):
    """One thing that is wrong with a request; exactly one of pointer and parameter is there."""

    detail: str
    pointer: str = Field(default="", description="where in the body, as a JSON pointer (RFC 6901)")
    parameter: str = Field(default="", description="which parameter or header")


class Created(View):
    """A job of a batch that was stored."""

    index: int
    status: Literal[201]
    id: UUID


class Refused(View):
    """A job of a batch that was not stored."""

    index: int
    status: Literal[413, 422]
    errors: list[FaultView]


class BatchOutcome(View):
    """What became of a batch, in its order."""

    items: list[Created | Refused]
    created: int
    failed: int


class Stats(View):
    """The statistics of a merchant."""

    counts: dict[JobStatus, int]
    counts_complete: bool
    counted_since: datetime | None
    oldest_due_age_seconds: float | None
    completed_last_hour: int
    failed_last_hour: int


class Stores(View):
    """How the stores are."""

    database: Literal["ok", "down"]
    redis: Literal["ok", "down"]


class Health(View):
    """How the installation is."""

    status: Literal["ok", "degraded"]
    stores: Stores


class Problem(BaseModel):
    """A problem (RFC 9457)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    title: str
    status: int
    detail: str = ""
    errors: list[FaultView] = Field(default=[])


VIEWS: tuple[type[BaseModel], ...] = (Job, JobPage, ExecutionPage, BatchOutcome, Stats, Health, Problem)
"""Every model that a route names in its answers; the routes of templates add theirs."""
