"""Cron expressions: which wall-clock readings they name. Zones and daylight saving are `recurrence`'s business.

Five fields (minute, hour, day of month, month, day of week), or six with seconds first. Each is `*`, a value, a range
`a-b`, any of these with a step (`*/5`, `10-40/10`, `10/10`: from 10 on), or a list of them. Months and weekdays have
names (JAN, MON); Sunday is 0 or 7. `L` is a month's last day, `FRI#2` its second Friday, `L5` its last Friday; `?` is
`*` in a day field. Where both day fields are restricted a day has to fit one of them, as in every cron.

croniter reads the fields and is known here only. What it reads in a way that would surprise is refused before it gets
there, and it does not search: its search knows no `31 or FRI#2`, walks fifty years for a date that never comes, and
takes twenty times as long.
"""

import re
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from typing import Final, NamedTuple

from scheduler_core.domain.errors import InvalidScheduleError

MAX_CRON_CHARACTERS = 200
SEARCH_YEARS = 41
"""How far ahead a match is looked for. The rarest come 40 years apart: fifth Mondays of a February, across 2100."""
_LAST_YEAR: Final = 9_990
_LAST: Final = -1  # of the month: a day, or one of its weekdays
_SUNDAY_AGAIN: Final = 7

_MONTHS: Final = {
    "JAN": 1, "FEB": 2, "MAR": 3, "APR": 4, "MAY": 5, "JUN": 6,
    "JUL": 7, "AUG": 8, "SEP": 9, "OCT": 10, "NOV": 11, "DEC": 12,
}  # fmt: skip
_WEEKDAYS: Final = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}
_MACROS: Final = {
    "@YEARLY": "0 0 1 1 *",
    "@ANNUALLY": "0 0 1 1 *",
    "@MONTHLY": "0 0 1 * *",
    "@WEEKLY": "0 0 * * 0",
    "@DAILY": "0 0 * * *",
    "@MIDNIGHT": "0 0 * * *",
    "@HOURLY": "0 * * * *",
}


class _Field(NamedTuple):
    name: str
    lowest: int
    highest: int
    names: dict[str, int]


_DAY: Final = _Field("day of month", 1, 31, {})
_WEEKDAY: Final = _Field("day of week", 0, _SUNDAY_AGAIN, _WEEKDAYS)
_FIELDS: Final = (
    _Field("second", 0, 59, {}),
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _DAY,
    _Field("month", 1, 12, _MONTHS),
    _WEEKDAY,
)
_ITEM: Final = re.compile(r"(?:\*|(?P<low>[0-9A-Z]+)(?:-(?P<high>[0-9A-Z]+))?)(?:/(?P<step>\d{1,3}))?", re.ASCII)
_NTH: Final = re.compile(r"(?P<weekday>[0-9A-Z]+)#(?P<nth>[1-5])", re.ASCII)
_LAST_WEEKDAY: Final = re.compile(r"L[0-7]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronExpression:
    """A parsed expression: sorted values per field. Weekdays count from Sunday = 0."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: frozenset[int]
    days: frozenset[int] | None
    """None: any day. -1 is the month's last."""
    weekdays: frozenset[int] | None
    nth_weekdays: frozenset[tuple[int, int]]
    """(weekday, which one of the month); -1 is the last. Where there are any, `weekdays` is empty."""

    @property
    def every_hour(self) -> bool:
        """Whether it runs by the hour of real time and not at an hour of the day."""
        return len(self.hours) == 24

    def next_match(self, reading: datetime) -> datetime | None:
        """The first reading named at or after `reading` (naive, whole seconds); None if there is none in 41 years."""
        if self._names_day(reading.date()) and (at := self._time_from(reading.time())) is not None:
            return datetime.combine(reading, at)
        day = self._next_day(reading.date())
        return None if day is None else datetime.combine(day, time(self.hours[0], self.minutes[0], self.seconds[0]))

    def _time_from(self, start: time) -> time | None:
        for hour in self.hours[bisect_left(self.hours, start.hour) :]:
            if hour > start.hour:
                return time(hour, self.minutes[0], self.seconds[0])
            for minute in self.minutes[bisect_left(self.minutes, start.minute) :]:
                if minute > start.minute:
                    return time(hour, minute, self.seconds[0])
                if start.second <= self.seconds[-1]:
                    return time(hour, minute, self.seconds[bisect_left(self.seconds, start.second)])
        return None

    def _next_day(self, after: date) -> date | None:
        first = after.day + 1
        for months_on in range(SEARCH_YEARS * 12 + 1):
            years_on, month = divmod(after.month - 1 + months_on, 12)
            year, month = after.year + years_on, month + 1
            if year > _LAST_YEAR:
                return None
            if month in self.months:
                for day in range(first, monthrange(year, month)[1] + 1):
                    if self._names_day(candidate := date(year, month, day)):
                        return candidate
            first = 1
        return None

    def _names_day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        if self.days is None:
            return self.weekdays is None or self._names_weekday(day)
        return self._names_day_of_month(day) or (self.weekdays is not None and self._names_weekday(day))

    def _names_day_of_month(self, day: date) -> bool:
        days = self.days or frozenset()
        return day.day in days or (_LAST in days and day.day == monthrange(day.year, day.month)[1])

    def _names_weekday(self, day: date) -> bool:
        weekday = day.isoweekday() % 7
        if weekday in (self.weekdays or ()):
            return True
        if not self.nth_weekdays:
            return False
        is_last = day.day + 7 > monthrange(day.year, day.month)[1]
        return (weekday, (day.day - 1) // 7 + 1) in self.nth_weekdays or (
            is_last and (weekday, _LAST) in self.nth_weekdays
        )


@lru_cache(maxsize=1_024)
def parse(expression: str) -> CronExpression:
    """The meaning of `expression`. Raises InvalidScheduleError, with a text for the producer, unless it is certain."""
    fields = _fields(expression)
    for field, text in zip(_FIELDS[-len(fields) :], fields, strict=True):
        _check(field, text)

    from croniter import croniter  # a tenth of a second, which only those pay who meet a cron template

    try:
        expanded, nth = croniter.expand(" ".join(fields), second_at_beginning=True)
    except (ValueError, TypeError, KeyError) as error:
        raise _refusal(f"{expression!r} is not understood: {error}"[:300]) from error
    minutes, hours, days, months, weekdays = expanded[:5]
    nth_weekdays = {(int(day), _LAST if str(n) == "l" else int(n)) for day, which in nth.items() for n in which}
    return CronExpression(
        seconds=_numbers(expanded[5], 0, 59) if len(expanded) > 5 else (0,),
        minutes=_numbers(minutes, 0, 59),
        hours=_numbers(hours, 0, 23),
        months=frozenset(_numbers(months, 1, 12)),
        days=None if days == ["*"] else frozenset(_LAST if day == "l" else int(day) for day in days),
        weekdays=None if weekdays == ["*"] else frozenset() if nth else frozenset(_numbers(weekdays, 0, 6)),
        nth_weekdays=frozenset(nth_weekdays),
    )


def _refusal(reason: str) -> InvalidScheduleError:
    return InvalidScheduleError(reason, field="cron")


def _numbers(values: Sequence[int | str], lowest: int, highest: int) -> tuple[int, ...]:
    return tuple(range(lowest, highest + 1)) if values == ["*"] else tuple(sorted(int(value) for value in values))


def _fields(expression: str) -> list[str]:
    if len(expression) > MAX_CRON_CHARACTERS:
        raise _refusal(f"longer than {MAX_CRON_CHARACTERS} characters")
    if not expression.isascii():
        raise _refusal("only plain letters, digits and * , - / # ? are known")
    fields = expression.upper().split()
    if len(fields) == 1 and fields[0].startswith("@"):
        meant = _MACROS.get(fields[0])
        raise _refusal(f"{expression!r} is not known" + (f"; write {meant!r}" if meant else ""))
    if len(fields) not in (len(_FIELDS) - 1, len(_FIELDS)):
        raise _refusal(f"5 fields are needed, or 6 with seconds first; there are {len(fields)}")
    return fields


def _check(field: _Field, text: str) -> None:
    if text == "?" and field in (_DAY, _WEEKDAY):
        return
    items = text.split(",")
    for item in items:
        _check_item(field, item)
        if item.startswith("*") and len(items) > 1:
            raise _refusal(f"{field.name}: {text!r} has a * in a list")


def _check_item(field: _Field, item: str) -> None:
    if field is _DAY and item == "L":
        return
    if field is _WEEKDAY and _LAST_WEEKDAY.fullmatch(item):
        return
    if field is _WEEKDAY and (nth := _NTH.fullmatch(item)):
        _value(field, nth["weekday"])
        return
    match = _ITEM.fullmatch(item)
    if match is None:
        raise _refusal(f"{field.name}: {item!r} is not understood")
    if match["low"] and match["high"]:
        _check_range(field, item, _value(field, match["low"]), _value(field, match["high"]), match["step"])
    elif match["low"]:
        _value(field, match["low"])
    if match["step"] and not 1 <= int(match["step"]) <= field.highest:
        raise _refusal(f"{field.name}: the step of {item!r} is not within 1-{field.highest}")


def _check_range(field: _Field, item: str, low: int, high: int, step: str | None) -> None:
    if low == high or (field is _WEEKDAY and (low, high) == (_SUNDAY_AGAIN, 0)):
        raise _refusal(f"{field.name}: {item!r} begins where it ends; write the one value")
    if low > high and (field is not _WEEKDAY or step):
        # A week has no first day that all agree on (FRI-MON); everywhere else, or with a step, it is rather a slip.
        raise _refusal(f"{field.name}: {item!r} runs backwards; write it as two ranges")


def _value(field: _Field, text: str) -> int:
    if text in field.names:
        return field.names[text]
    if not text.isdigit():
        raise _refusal(f"{field.name}: {text!r} is not understood")
    if not field.lowest <= int(text) <= field.highest:
        raise _refusal(f"{field.name}: {text} is not within {field.lowest}-{field.highest}")
    return int(text)
