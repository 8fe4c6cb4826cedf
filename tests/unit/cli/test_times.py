"""Durations and moments, typed and shown."""

from datetime import UTC, datetime, timedelta

import pytest

from cli import times

NOW = datetime(2026, 11, 23, 9, 14, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30),
        ("5m", 300),
        ("2h", 7_200),
        ("1d", 86_400),
        ("1h30m", 5_400),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("7", 7),
    ],
)
def test_a_duration_is_read_with_its_unit(text: str, expected: float) -> None:
    assert times.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "s", "5 parsecs", "-5s", "5mm", "now", "1h-3m"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        times.seconds(text)


def test_a_moment_is_read_with_its_offset() -> None:
    assert times.moment("2026-11-23T10:00:00+01:00", NOW) == datetime(2026, 11, 23, 9, tzinfo=UTC)


def test_a_moment_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="no offset"):
        times.moment("2026-11-23T10:00:00", NOW)


@pytest.mark.parametrize(("text", "day"), [("10:00", 23), ("09:14:05", 24), ("08:00", 24)])
def test_a_time_of_day_means_the_next_one(text: str, day: int) -> None:
    assert times.moment(text, NOW).day == day


def test_what_is_not_a_time_is_refused() -> None:
    with pytest.raises(ValueError, match="not a time"):
        times.moment("soon", NOW)


def test_a_moment_goes_to_the_api_in_utc_and_milliseconds() -> None:
    assert times.rfc3339(datetime.fromisoformat("2026-11-23T10:00:00.0015+01:00")) == "2026-11-23T09:00:00.001Z"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.34, "340ms"),
        (4.25, "4.2s"),
        (5, "5s"),
        (29, "29s"),
        (65, "1m 5s"),
        (120, "2m"),
        (7_800, "2h 10m"),
        (273_600, "3d 4h"),
    ],
)
def test_a_span_is_shown_in_at_most_two_units(seconds: float, shown: str) -> None:
    assert times.duration(seconds) == shown


def test_a_moment_is_shown_relative_to_now() -> None:
    assert times.relative(NOW + timedelta(seconds=29), NOW) == "in 29s"
    assert times.relative(NOW - timedelta(hours=2), NOW) == "2h ago"
    assert times.relative(NOW, NOW) == "now"


def test_a_cell_has_the_relative_and_the_absolute_time() -> None:
    assert times.short(NOW + timedelta(seconds=29), NOW) == "in 29s 09:14:34"
    assert times.short(NOW + timedelta(seconds=3_599), NOW) == "in 1h 10:14:04"
    assert times.short(NOW - timedelta(minutes=5, seconds=30), NOW) == "6m ago 09:08:35"
    assert times.short(NOW + timedelta(days=3), NOW) == "in 3d 2026-11-26"


def test_a_page_has_the_absolute_time_to_the_millisecond() -> None:
    assert times.full(NOW + timedelta(seconds=29), NOW) == "2026-11-23 09:14:34.000 UTC (in 29s)"
