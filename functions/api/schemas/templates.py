"""The bodies of `POST /templates`, `POST /templates/preview` and `PATCH /templates/{id}`."""

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from api.schemas.fields import Body, MaxRetries, Metadata, Moment, Priority, Text, TimeoutSeconds, Whole
from api.schemas.jobs import Delivery, Retry
from api.schemas.targets import Target
from scheduler_core.domain.cron import MAX_CRON_CHARACTERS
from scheduler_core.domain.recurrence import MAX_INTERVAL_SECONDS
from scheduler_core.domain.templates import MAX_CATCH_UP_WINDOW_SECONDS, MAX_JITTER_SECONDS, MAX_RUNS, CatchUp

_CRON_SAID: Final = (
    "5 fields, or 6 with seconds first; lists, ranges, steps, names, L, FRI#2 and L5 (last Friday). A named hour means "
    "a time of day: skipped by daylight saving, it runs when the gap ends; repeated, the first time only. `*` as the "
    "hour means a rhythm, which daylight saving does not disturb"
)

Name = Annotated[Text, StringConstraints(min_length=1, max_length=128)]
Description = Annotated[Text, StringConstraints(max_length=1_024)]
Cron = Annotated[Text, StringConstraints(min_length=1, max_length=MAX_CRON_CHARACTERS)]
Interval = Annotated[Whole, Field(ge=1, le=MAX_INTERVAL_SECONDS)]
Timezone = Annotated[Text, StringConstraints(min_length=1, max_length=64)]
MaxRuns = Annotated[Whole, Field(ge=1, le=MAX_RUNS)]
Jitter = Annotated[Whole, Field(ge=0, le=MAX_JITTER_SECONDS)]
CatchUpWindow = Annotated[Whole, Field(ge=0, le=MAX_CATCH_UP_WINDOW_SECONDS)]
Active = Annotated[bool, Field(strict=True)]


class Timing(Body):
    """When a template runs: exactly one of `cron` and `interval_seconds`."""

    cron: Annotated[Cron | None, Field(description=_CRON_SAID)] = None
    interval_seconds: Annotated[
        Interval | None, Field(description="counted from start_at, or else from the creation, never from the last run")
    ] = None
    timezone: Annotated[Timezone, Field(description="an IANA name")] = "UTC"
    start_at: Annotated[Moment | None, Field(description="no run before; an interval's first run is here")] = None
    end_at: Annotated[Moment | None, Field(description="no run after")] = None
    max_runs: Annotated[MaxRuns | None, Field(description="runs outside the schedule do not count")] = None
    jitter_seconds: Annotated[Jitter, Field(description="each run is delayed by a part of this; always the same")] = 0
    catch_up: Annotated[
        CatchUp, Field(description="after a downtime: one run for all that were missed, a run for each, or none")
    ] = CatchUp.ONCE
    catch_up_window_seconds: Annotated[
        CatchUpWindow, Field(description="what was missed longer ago than this is not caught up")
    ] = 86_400


class TemplateCreate(Timing, Delivery):
    """A template: a delivery that is made again and again."""

    name: Annotated[Name, Field(description="unique among your templates")]
    description: Description | None = None
    active: Annotated[Active, Field(description="false: it is made paused")] = True


class TemplatePreview(TemplateCreate):
    """A template that is not stored; only its schedule matters here."""

    name: Name | None = None  # type: ignore[assignment] # asked for less
    target: Target | None = None  # type: ignore[assignment] # the same


_ABSENT: Final[Any] = None


class TemplatePatch(Body):
    """What to change; a field that is left out stays.

    Null takes away a description, payload, start_at, end_at or max_runs. A new cron takes the place of an interval, and
    the other way round. `{"active": false}` pauses.
    """

    name: Name = _ABSENT
    description: Description | None = None
    active: Active = _ABSENT
    cron: Cron | None = None
    interval_seconds: Interval | None = None
    timezone: Timezone = _ABSENT
    start_at: Moment | None = None
    end_at: Moment | None = None
    max_runs: MaxRuns | None = None
    jitter_seconds: Jitter = _ABSENT
    catch_up: CatchUp = _ABSENT
    catch_up_window_seconds: CatchUpWindow = _ABSENT
    target: Target = _ABSENT
    payload: Any = _ABSENT
    priority: Priority = _ABSENT
    max_retries: MaxRetries = _ABSENT
    retry: Retry = _ABSENT
    timeout_seconds: TimeoutSeconds = _ABSENT
    metadata: Metadata = _ABSENT
