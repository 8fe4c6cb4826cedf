"""Durations and moments as people type and read them. Pure: `now` comes in as an argument."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_SCALES: Final = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s"))


def seconds(text: str) -> float:
    """`30s`, `5m`, `1h30m`, `2d`, or a bare number of seconds; ValueError for anything else."""
    stripped = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", stripped):
        return float(stripped)
    if not stripped or _PART.sub("", stripped):
        raise ValueError(f"{text!r} is not a duration: write 30s, 5m, 2h, 1d or 1h30m")
    return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(stripped))


def moment(text: str, now: datetime) -> datetime:
    """An RFC 3339 time, or a time of day `HH:MM[:SS]` (UTC, the next one after `now`); ValueError for anything else."""
    stripped = text.strip()
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", stripped):
        hour, minute, *rest = (int(part) for part in stripped.split(":"))
        today = now.astimezone(UTC).replace(hour=hour, minute=minute, second=rest[0] if rest else 0, microsecond=0)
        return today if today > now else today + timedelta(days=1)
    try:
        read = datetime.fromisoformat(stripped)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time: write 2026-12-01T09:00:00Z, or 09:00 for the next one (UTC)"
        ) from None
    if read.tzinfo is None:
        raise ValueError(f"{text!r} has no offset: add Z for UTC, or +01:00")
    return read


def rfc3339(value: datetime) -> str:
    """A moment as the API takes it: UTC, to the millisecond."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(span_seconds: float, *, units: int = 2) -> str:
    """A span in at most two units, or in one: `340ms`, `29s`, `1m 5s`, `2h 10m`, `3d 4h`."""
    if span_seconds < 1:
        return f"{round(span_seconds * 1_000)}ms"
    if span_seconds < 10 and span_seconds != int(span_seconds):
        return f"{span_seconds:.1f}s"
    whole = round(span_seconds)
    for size, unit, small_size, small_unit in _SCALES:
        if units == 1 and whole >= size - small_size / 2:
            return f"{round(whole / size)}{unit}"
        if whole >= size:
            rest = whole % size // small_size
            return f"{whole // size}{unit} {rest}{small_unit}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"


def relative(value: datetime, now: datetime, *, units: int = 2) -> str:
    """`in 29s`, `2h 10m ago`, `now`."""
    ahead = (value - now).total_seconds()
    if abs(ahead) < 0.5:
        return "now"
    return f"in {duration(ahead, units=units)}" if ahead > 0 else f"{duration(-ahead, units=units)} ago"


def short(value: datetime, now: datetime) -> str:
    """A moment in a table's cell: the relative form in one unit, and the time of day or the date, UTC."""
    near = abs((value - now).total_seconds()) < 43_200
    absolute = f"{value.astimezone(UTC):%H:%M:%S}" if near else f"{value.astimezone(UTC):%Y-%m-%d}"
    return f"{relative(value, now, units=1)} {absolute}"


def full(value: datetime, now: datetime) -> str:
    """A moment on a page of its own: absolute to the millisecond, then relative."""
    absolute = value.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", " UTC")
    return f"{absolute} ({relative(value, now)})"


def read(text: str | None) -> datetime | None:
    """A time as the API answers it."""
    return None if text is None else datetime.fromisoformat(text)
