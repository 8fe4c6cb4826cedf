"""When a schedule runs: nominal times as instants, in whole milliseconds, strictly increasing and without drift (I6).

Intervals are counted from an anchor (`start_at`, or else the template's creation), never from the last run.

Cron readings become instants in the schedule's zone. Where daylight saving moves the clock there are two kinds:

- An expression that names hours means a time of the day, which comes once each local day. Skipped in spring, it runs at
  the instant at which the gap ends (02:30 becomes 03:00); repeated in autumn, it runs the first time only.
- An expression whose hour is `*` means a rhythm. It runs at every instant whose reading fits, so that a gap neither
  silences nor bunches it, and it goes on through the repeated hour.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from scheduler_core.domain.cron import CronExpression, parse
from scheduler_core.domain.errors import InvalidScheduleError
from scheduler_core.domain.ids import from_milliseconds, milliseconds

MAX_INTERVAL_SECONDS = 31_536_000
_SECOND: Final = timedelta(seconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_EARLIEST: Final = datetime(1970, 1, 2, tzinfo=UTC)
_LATEST: Final = datetime(9_990, 1, 1, tzinfo=UTC)
_ZONE_NAME: Final = re.compile(r"(?!(?:posix|right)/)[A-Z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_NO_ZONES: Final = frozenset({"Factory"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What the producer asked for; exactly one of `cron` and `interval_seconds` is set."""

    cron: str | None = None
    interval_seconds: int | None = None
    timezone: str = "UTC"
    start_at: datetime | None = None
    """No nominal time lies before it; an interval has its first one here."""
    end_at: datetime | None = None
    """No nominal time lies after it."""
    created_at: datetime
    """The anchor of an interval without `start_at`: its first nominal time is one interval later."""


@lru_cache(maxsize=1_024)
def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name. Raises InvalidScheduleError for anything that is not one on every machine."""
    if len(name) <= 64 and _ZONE_NAME.fullmatch(name) and name not in _NO_ZONES:
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            pass  # not found, not a zone's file, a folder: all one to the producer
    raise InvalidScheduleError(
        f"{name[:64]!r} is not an IANA time zone, such as 'Europe/Berlin' or 'UTC'", field="timezone"
    )


def validate(schedule: Schedule, now: datetime) -> None:
    """Raises InvalidScheduleError, with a text for the producer, unless the schedule has a run after `now`."""
    zone(schedule.timezone)
    if (schedule.cron is None) == (schedule.interval_seconds is None):
        raise InvalidScheduleError("exactly one of cron and interval_seconds is needed")
    if schedule.interval_seconds is not None and not 1 <= schedule.interval_seconds <= MAX_INTERVAL_SECONDS:
        raise InvalidScheduleError(f"not within 1-{MAX_INTERVAL_SECONDS}", field="interval_seconds")
    if schedule.start_at and schedule.end_at and schedule.end_at < schedule.start_at:
        raise InvalidScheduleError("lies before start_at", field="end_at")
    if schedule.end_at and schedule.end_at <= now:
        raise InvalidScheduleError("lies in the past", field="end_at")
    if next_nominal_at(schedule, now) is None:
        between = " before end_at" if schedule.end_at else ""
        field = "interval_seconds" if schedule.cron is None else "cron"
        raise InvalidScheduleError(f"it never comes{between}", field=field)


def next_nominal_at(schedule: Schedule, after: datetime) -> datetime | None:
    """The first nominal time strictly after `after`, UTC; None: there is none, or none within 41 years."""
    after = max(after, _EARLIEST)
    if schedule.start_at is not None:
        after = max(after, _whole_milliseconds(schedule.start_at) - _MILLISECOND)
    if after >= _LATEST:
        return None
    if schedule.interval_seconds is not None:
        found: datetime | None = _next_interval(schedule, schedule.interval_seconds, after)
    else:
        found = _next_instant(parse(schedule.cron or ""), zone(schedule.timezone), after)
    return None if found is None or (schedule.end_at is not None and found > schedule.end_at) else found


def last_nominal_before(schedule: Schedule, not_before: datetime, before: datetime) -> datetime | None:
    """The latest nominal time in `[not_before, before)`; None: there is none.

    Halves the span instead of walking it: after a week's downtime an every-second schedule has missed 604,800.
    """
    latest = None
    low, high = not_before - _MILLISECOND, before
    while high - low > _MILLISECOND:
        middle = low + (high - low) / 2 if latest is not None else low
        found = next_nominal_at(schedule, middle)
        if found is not None and found < before:
            latest = low = found
        elif latest is None:
            return None
        else:
            high = middle
    return latest


def nominal_times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """All nominal times strictly after `after`, one by one."""
    while (found := next_nominal_at(schedule, after)) is not None:
        yield found
        after = found


def preview(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    """The next `count` nominal times strictly after `after`."""
    return list(islice(nominal_times(schedule, after), count))


def _whole_milliseconds(moment: datetime) -> datetime:
    return from_milliseconds(milliseconds(moment))


def _next_interval(schedule: Schedule, interval_seconds: int, after: datetime) -> datetime:
    anchor = milliseconds(schedule.start_at or schedule.created_at)
    first = 0 if schedule.start_at else 1
    interval = interval_seconds * 1_000
    return from_milliseconds(anchor + max(first, (milliseconds(after) - anchor) // interval + 1) * interval)


def _next_instant(cron: CronExpression, where: tzinfo, after: datetime) -> datetime | None:
    here = after.astimezone(where)
    reading = here.replace(tzinfo=None, microsecond=0, fold=0)
    start = reading + _SECOND
    change = _change_at(reading, where)
    if change is not None and cron.every_hour and not here.fold:
        return _through_fold(cron, where, start, after, change)
    if change is not None and here.fold and not cron.every_hour:
        start = max(start, change.old_reading)  # until there, every reading has had its run when it first came
    return _resolve(cron, where, start, after)


def _through_fold(
    cron: CronExpression, where: tzinfo, start: datetime, after: datetime, fold: "_Change"
) -> datetime | None:
    """A rhythm inside the first pass of a fold: what is left of the pass, then the second one from its beginning."""
    reading = cron.next_match(start)
    if reading is not None and reading < fold.old_reading:
        return (reading - fold.old_offset).replace(tzinfo=UTC)
    return _resolve(cron, where, fold.new_reading, max(after, fold.at - _MILLISECOND))


def _resolve(cron: CronExpression, where: tzinfo, start: datetime, after: datetime) -> datetime | None:
    """The instant after `after` of the first reading from `start` on that has one."""
    while (reading := cron.next_match(start)) is not None:
        change = _change_at(reading, where)
        if change is None:
            return reading.replace(tzinfo=where).astimezone(UTC)
        if change.is_fold:
            first = (reading - change.old_offset).replace(tzinfo=UTC)
            return first if first > after else (reading - change.new_offset).replace(tzinfo=UTC)
        if not cron.every_hour:
            return change.at
        start = change.new_reading
    return None


@dataclass(frozen=True, slots=True)
class _Change:
    """A zone's offset changes: at which instant, and what the clocks read there before and after."""

    at: datetime
    old_offset: timedelta
    new_offset: timedelta

    @property
    def is_fold(self) -> bool:
        return self.new_offset < self.old_offset

    @property
    def old_reading(self) -> datetime:
        return self.at.replace(tzinfo=None) + self.old_offset

    @property
    def new_reading(self) -> datetime:
        return self.at.replace(tzinfo=None) + self.new_offset


def _change_at(reading: datetime, where: tzinfo) -> _Change | None:
    """The change that makes `reading` (naive) come twice or never; None: it comes once, as nearly all do."""
    old, new = _offset(reading.replace(tzinfo=where)), _offset(reading.replace(tzinfo=where, fold=1))
    if old == new:
        return None
    low, high = (reading - max(old, new)).replace(tzinfo=UTC), (reading - min(old, new)).replace(tzinfo=UTC)
    # PEP 495: low lies before the change, high at or after it.
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        if _offset(middle.astimezone(where)) == old:
            low = middle
        else:
            high = middle
    return _Change(at=high, old_offset=old, new_offset=new)


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta()
