"""The bodies of `POST /jobs`, `POST /jobs/batch` and `PATCH /jobs/{id}`."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any, Final, Literal, Required, TypedDict, get_type_hints

from pydantic import ConfigDict, Field, SkipValidation, TypeAdapter, with_config

from api.schemas.fields import (
    Body,
    MaxRetries,
    Metadata,
    Moment,
    Number,
    Priority,
    ReferenceId,
    TimeoutSeconds,
    Whole,
)
from api.schemas.targets import Target

MAX_BATCH: Final = 1_000
TEN_YEARS_SECONDS: Final = 315_576_000
A_DAY_SECONDS: Final = 86_400
A_YEAR_SECONDS: Final = 31_557_600


class Retry(Body):
    """Backoff between attempts, `min(max, initial * multiplier^(attempt-1))` seconds with full jitter."""

    initial_seconds: Annotated[Number, Field(ge=0, le=A_DAY_SECONDS)] = 1.0
    max_seconds: Annotated[Number, Field(ge=0, le=7 * A_DAY_SECONDS)] = 3_600.0
    multiplier: Annotated[Number, Field(ge=1, le=100)] = 2.0


class Delivery(Body):
    """What jobs and templates have in common: where to, with what, and how hard to try."""

    target: Target
    payload: Annotated[Any, Field(description="any JSON up to 256 KiB, sent as it is; null: no body")] = None
    priority: Annotated[Priority, Field(description="higher goes first")] = 0
    max_retries: MaxRetries = 3
    retry: Retry = Retry()
    timeout_seconds: TimeoutSeconds = 30
    metadata: Metadata = Field(default_factory=dict)


class JobCreate(Delivery):
    """A job. Due at `scheduled_at`, or after `delay_seconds`, or now where neither is given."""

    model_config = ConfigDict(defer_build=False)  # what nearly every environment is asked for

    scheduled_at: Annotated[Moment | None, Field(description="a time that has passed means now")] = None
    delay_seconds: Annotated[Number, Field(ge=0, le=TEN_YEARS_SECONDS)] | None = None
    reference_id: ReferenceId | None = None
    expires_at: Annotated[Moment | None, Field(description="not started any more from then on; after the due time")] = (
        None
    )
    schedule_type: Literal["one_time", "polling"] = "one_time"
    interval_seconds: Annotated[
        Annotated[Whole, Field(ge=1, le=A_YEAR_SECONDS)] | None,
        Field(description="polling only: how long to wait before asking again"),
    ] = None
    max_attempts: Annotated[
        Annotated[Whole, Field(ge=1, le=10_000)] | None,
        Field(description="polling only: how often to ask; 100 unless told"),
    ] = None


JobFields = dict[str, Any]
"""A valid job as a dict of what its body names, each as `JobCreate` has it."""


@cache
def all_valid() -> Callable[[Sequence[Any]], list[JobFields]]:
    """Validates jobs as `JobCreate` would, but their targets not at all; made with the first batch.

    Raises ValidationError. No models are made of them, nor defaults: a quarter of the time that `JobCreate` takes.
    """
    hints = get_type_hints(JobCreate, include_extras=True)
    fields = {name: hints[name] for name in JobCreate.model_fields} | {"target": Required[Any]}
    make: Any = TypedDict  # whose fields mypy wants to read
    job = with_config(extra="forbid")(make("Job", fields, total=False))
    made: TypeAdapter[Any] = TypeAdapter(list[job])  # type: ignore[valid-type] # made just now
    return made.validator.validate_python


class JobBatch(Body):
    """Up to 1,000 jobs. Each is judged on its own, so they are not validated here."""

    jobs: Annotated[list[SkipValidation[JobCreate]], Field(min_length=1, max_length=MAX_BATCH)]


_ABSENT: Final[Any] = None


class JobPatch(Body):
    """What to change. A field left out stays; `"payload": null` takes the payload away; no other may be null."""

    scheduled_at: Moment = _ABSENT
    priority: Priority = _ABSENT
    payload: Any = _ABSENT
    target: Target = _ABSENT
    max_retries: MaxRetries = _ABSENT
    timeout_seconds: TimeoutSeconds = _ABSENT
    metadata: Metadata = _ABSENT
