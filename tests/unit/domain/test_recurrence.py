"""I6: nominal times do not drift, repeat or fall silent, whatever the clocks of a zone do."""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_core.domain.errors import InvalidScheduleError
from scheduler_core.domain.recurrence import (
    Schedule,
    last_nominal_before,
    next_nominal_at,
    preview,
    validate,
    zone,
)

NOW = datetime(2026, 11, 23, 9, 30, 0, 123456, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def schedule(cron: str | None = None, timezone: str = "UTC", **given: Any) -> Schedule:
    return Schedule(cron=cron, timezone=timezone, created_at=NOW, **given)


def local(schedule_: Schedule, after: datetime, count: int) -> list[str]:
    where = zone(schedule_.timezone)
    return [at.astimezone(where).strftime("%d %H:%M%z") for at in preview(schedule_, after, count)]


# Intervals ---------------------------------------------------------------------------------------------------------


def test_an_interval_is_counted_from_creation_in_whole_milliseconds() -> None:
    """I6: the anchor never moves, so a late run delays no other."""
    hourly = schedule(interval_seconds=3_600)
    assert next_nominal_at(hourly, NOW) == utc("2026-11-23T10:30:00.123")
    assert next_nominal_at(hourly, utc("2026-11-23T10:30:00.122999")) == utc("2026-11-23T10:30:00.123")
    assert next_nominal_at(hourly, utc("2026-11-23T10:30:00.123")) == utc("2026-11-23T11:30:00.123")
    assert next_nominal_at(hourly, utc("2027-11-23T10:59:00")) == utc("2027-11-23T11:30:00.123")


def test_an_interval_with_a_start_runs_at_its_start() -> None:
    daily = schedule(interval_seconds=86_400, start_at=utc("2026-12-01T08:00:00"))
    assert preview(daily, NOW, 2) == [utc("2026-12-01T08:00:00"), utc("2026-12-02T08:00:00")]


def test_an_interval_whose_start_is_past_keeps_its_phase() -> None:
    weekly = schedule(interval_seconds=604_800, start_at=utc("2020-01-06T08:00:00"))
    assert next_nominal_at(weekly, NOW) == utc("2026-11-30T08:00:00")


@given(
    st.integers(1, 31_536_000), st.datetimes(datetime.fromisoformat("2026-11-23"), datetime.fromisoformat("2100-01-01"))
)
def test_an_interval_never_drifts(interval_seconds: int, after: datetime) -> None:
    """I6: every nominal time is the anchor plus a whole number of intervals, the first one after the moment asked."""
    found = next_nominal_at(schedule(interval_seconds=interval_seconds), after.replace(tzinfo=UTC))
    assert found is not None
    anchor = NOW.replace(microsecond=123_000)
    assert (found - anchor) % timedelta(seconds=interval_seconds) == timedelta()
    assert found > max(after.replace(tzinfo=UTC), NOW)
    assert found - timedelta(seconds=interval_seconds) <= max(after.replace(tzinfo=UTC), anchor)


# Bounds ------------------------------------------------------------------------------------------------------------


def test_nothing_runs_before_the_start_or_after_the_end() -> None:
    bounded = schedule("0 * * * *", start_at=utc("2026-12-01T08:00:00"), end_at=utc("2026-12-01T10:00:00"))
    assert preview(bounded, NOW, 100) == [utc(f"2026-12-01T{hour}:00:00") for hour in ("08", "09", "10")]


@pytest.mark.parametrize("after", ["0001-01-01", "1969-12-31", "9995-01-01", "9999-12-31T23:59:59"])
@pytest.mark.parametrize("name", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_ends_of_the_calendar_are_no_error(after: str, name: str) -> None:
    for asked in (schedule("0 0 * * *", name), schedule("* * * * * *", name), schedule(None, name, interval_seconds=1)):
        found = next_nominal_at(asked, utc(after))
        assert (found is None) == (after > "9000")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (schedule("0 0 30 2 *"), "cron: it never comes"),
        (schedule("0 0 29 2 *", end_at=utc("2027-12-31")), "never comes before end_at"),
        (schedule("nonsense"), "5 fields"),
        (schedule(), "exactly one"),
        (schedule("* * * * *", interval_seconds=5), "exactly one"),
        (schedule(interval_seconds=0), "interval_seconds"),
        (schedule(interval_seconds=31_536_001), "interval_seconds"),
        (schedule("* * * * *", "Mars/Olympus"), "not an IANA time zone"),
        (schedule("* * * * *", end_at=NOW), "end_at: lies in the past"),
        (schedule("* * * * *", start_at=utc("2027-01-02"), end_at=utc("2027-01-01")), "end_at: lies before start_at"),
    ],
)
def test_a_schedule_without_a_run_is_refused_with_a_reason(asked: Schedule, said: str) -> None:
    with pytest.raises(InvalidScheduleError) as refusal:
        validate(asked, NOW)
    assert said in str(refusal.value)


def test_a_rare_but_real_schedule_is_accepted() -> None:
    validate(schedule("0 0 29 2 *", "Europe/Berlin"), NOW)


@pytest.mark.parametrize(
    "name",
    ["", "utc", "Europe", "Europe/berlin", "../etc/passwd", "/etc/localtime", "localtime", "posixrules", "Factory",
     "right/Europe/Berlin", "posix/UTC", "zone.tab", "Europe/Berlin\0", "CEST", "+02:00", "E" * 10_000],
)  # fmt: skip
def test_what_is_not_a_zone_everywhere_is_refused(name: str) -> None:
    with pytest.raises(InvalidScheduleError):
        zone(name)


@pytest.mark.parametrize(
    "name", ["UTC", "Etc/GMT+3", "America/Argentina/Buenos_Aires", "EST5EDT", "Australia/Lord_Howe"]
)
def test_a_zone_is_known_by_its_iana_name(name: str) -> None:
    assert zone(name).key == name


# Daylight saving, by example ---------------------------------------------------------------------------------------

SPRING, AUTUMN = utc("2026-03-28T12:00:00"), utc("2026-10-24T12:00:00")  # Berlin changes on the following mornings


def test_a_time_of_day_keeps_its_hour_through_the_year() -> None:
    """I6."""
    nine = schedule("0 9 * * *", "Europe/Berlin")
    assert local(nine, SPRING, 2) == ["29 09:00+0200", "30 09:00+0200"]
    assert local(nine, AUTUMN, 2) == ["25 09:00+0100", "26 09:00+0100"]


def test_a_time_that_spring_skips_runs_when_the_gap_ends() -> None:
    """I6."""
    assert local(schedule("30 2 * * *", "Europe/Berlin"), SPRING, 2) == ["29 03:00+0200", "30 02:30+0200"]


def test_several_skipped_times_make_one_run() -> None:
    """I6: 02:00, 02:20 and 02:40 all fall to 03:00, which runs anyway."""
    found = local(schedule("*/20 1-3 * * *", "Europe/Berlin"), SPRING, 7)
    assert found == [
        f"29 {at}" for at in ("01:00+0100", "01:20+0100", "01:40+0100", "03:00+0200", "03:20+0200", "03:40+0200")
    ] + ["30 01:00+0200"]


def test_a_time_that_autumn_repeats_runs_the_first_time_only() -> None:
    """I6."""
    assert local(schedule("30 2 * * *", "Europe/Berlin"), AUTUMN, 2) == ["25 02:30+0200", "26 02:30+0100"]
    between_the_two = utc("2026-10-25T01:10:00")
    assert local(schedule("30 2 * * *", "Europe/Berlin"), between_the_two, 1) == ["26 02:30+0100"]


@pytest.mark.parametrize("after", [SPRING, AUTUMN])
@pytest.mark.parametrize(("cron", "period"), [("*/15 * * * *", 900), ("0 * * * *", 3_600), ("*/10 * * * * *", 10)])
def test_a_rhythm_goes_on_in_real_time(cron: str, period: int, after: datetime) -> None:
    """I6: neither an hour of silence in spring nor a second helping in autumn."""
    times = preview(schedule(cron, "Europe/Berlin"), after, 2 * 86_400 // period)
    assert {later - sooner for sooner, later in pairwise(times)} == {timedelta(seconds=period)}


def test_lord_howe_moves_by_half_an_hour() -> None:
    """I6."""
    spring, autumn = utc("2026-10-03T13:00:00"), utc("2026-04-04T13:00:00")
    assert local(schedule("15 2 * * *", "Australia/Lord_Howe"), spring, 2) == ["04 02:30+1100", "05 02:15+1100"]
    assert local(schedule("45 1 * * *", "Australia/Lord_Howe"), autumn, 2) == ["05 01:45+1100", "06 01:45+1030"]
    rhythm = preview(schedule("*/10 * * * *", "Australia/Lord_Howe"), autumn, 60)
    assert {later - sooner for sooner, later in pairwise(rhythm)} == {timedelta(minutes=10)}


def test_a_midnight_that_does_not_exist_runs_at_the_day_s_first_moment() -> None:
    """I6: in Cairo spring begins at midnight."""
    assert local(schedule("0 0 * * *", "Africa/Cairo"), utc("2026-04-23T12:00:00"), 2) == [
        "24 01:00+0300",
        "25 00:00+0300",
    ]


def test_a_day_that_a_zone_skipped_runs_at_the_next_day_s_first_moment() -> None:
    """I6: Samoa had no 30 December 2011."""
    assert local(schedule("0 9 * * *", "Pacific/Apia"), utc("2011-12-29T12:00:00"), 3) == [
        "29 09:00-1000", "31 00:00+1400", "31 09:00+1400"
    ]  # fmt: skip


# Daylight saving, against an evaluator that looks at every moment --------------------------------------------------

CHANGES = [
    ("Europe/Berlin", "2026-03-29"), ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"), ("America/New_York", "2026-11-01"),
    ("Europe/Dublin", "2026-03-29"), ("Europe/Dublin", "2026-10-25"),  # negative daylight saving, in winter
    ("Australia/Sydney", "2026-04-05"), ("Australia/Sydney", "2026-10-04"),
    ("Australia/Lord_Howe", "2026-04-05"), ("Australia/Lord_Howe", "2026-10-04"),
    ("America/Santiago", "2026-04-05"), ("America/Santiago", "2026-09-06"),
    ("Africa/Cairo", "2026-04-24"), ("Africa/Cairo", "2026-10-29"),
    ("Africa/Casablanca", "2026-02-15"), ("Africa/Casablanca", "2026-03-22"),
    ("Asia/Kathmandu", "1985-12-31"), ("Asia/Pyongyang", "2015-08-14"), ("Asia/Pyongyang", "2018-05-04"),
    ("America/Caracas", "2007-12-09"), ("Antarctica/Troll", "2026-03-29"), ("Antarctica/Troll", "2026-10-25"),
    ("Pacific/Apia", "2011-12-30"), ("Pacific/Kwajalein", "1993-08-21"), ("Africa/Monrovia", "1972-01-07"),
    ("UTC", "2026-03-29"),
]  # fmt: skip
SPAN = timedelta(days=2)


@lru_cache
def every_half_minute(name: str, middle: datetime) -> tuple[list[datetime], list[datetime], list[datetime]]:
    """Instants, what the clocks read then, and the furthest reading so far, which shows where a gap ends."""
    instants = [
        middle - 2 * SPAN + timedelta(seconds=30 * number) for number in range(4 * SPAN // timedelta(seconds=30))
    ]
    readings = [instant.astimezone(ZoneInfo(name)).replace(tzinfo=None) for instant in instants]
    return instants, readings, list(accumulate(readings, max))


def brute_force(minutes: set[int], hours: set[int], weekdays: set[int], name: str, middle: datetime) -> list[datetime]:
    """Every run within two days of `middle`, by looking at all of them."""
    instants, readings, furthest = every_half_minute(name, middle)

    def named(reading: datetime) -> bool:
        if reading.minute not in minutes or reading.hour not in hours or reading.second != 0:
            return False
        return reading.isoweekday() % 7 in weekdays

    if len(hours) == 24:
        found = {instant for instant, reading in zip(instants, readings, strict=True) if named(reading)}
    else:
        first = dict(zip(reversed(readings), reversed(instants), strict=True))
        minutes_on = range((readings[-1] - readings[0]) // timedelta(minutes=1))
        clock = (readings[0].replace(second=0) + timedelta(minutes=number) for number in minutes_on)
        found = {first.get(reading) or instants[bisect_right(furthest, reading)] for reading in clock if named(reading)}
    return sorted(instant for instant in found if middle - SPAN < instant < middle + SPAN)


def written(values: set[int], everything: int) -> str:
    return "*" if len(values) == everything else ",".join(map(str, sorted(values)))


def some(lowest: int, highest: int) -> st.SearchStrategy[set[int]]:
    everything = st.just(set(range(lowest, highest + 1)))
    return st.one_of(everything, st.sets(st.integers(lowest, highest), min_size=1, max_size=4))


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(CHANGES),
    some(0, 59),
    st.one_of(some(0, 23), some(0, 4)),
    some(0, 6),
    st.floats(0, 1, exclude_max=True),
)
def test_runs_are_those_that_looking_at_every_moment_finds(
    change: tuple[str, str], minutes: set[int], hours: set[int], weekdays: set[int], part: float
) -> None:
    """I6: strictly increasing, no repeats, none left out; and asking from any moment gives the same answer."""
    name, day = change
    middle = utc(day) + timedelta(hours=6)
    asked = schedule(f"{written(minutes, 60)} {written(hours, 24)} * * {written(weekdays, 7)}", name)
    expected = brute_force(minutes, hours, weekdays, name, middle)
    found = preview(asked, middle - SPAN, len(expected) + 1)
    assert found[: len(expected)] == expected
    assert all(later >= middle + SPAN for later in found[len(expected) :])
    assert all(sooner < later for sooner, later in pairwise(found))

    moment = middle - SPAN + 2 * SPAN * part
    coming = [at for at in found if at > moment]
    assert next_nominal_at(asked, moment) == (coming[0] if coming else next_nominal_at(asked, found[-1]))
    gone = [at for at in expected if at < moment]
    assert last_nominal_before(asked, middle - SPAN + timedelta(milliseconds=1), moment) == (gone[-1] if gone else None)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        sorted({name for name, _ in CHANGES} | {"Asia/Tehran", "America/Sao_Paulo", "Asia/Gaza", "Europe/London"})
    ),
    st.sampled_from(
        ["* * * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "0 0 * * *", "0 0 L * *", "5 1-3/2 * * SUN"]
    ),
    st.datetimes(datetime.fromisoformat("1971-01-01"), datetime.fromisoformat("2090-01-01")),
)
def test_nominal_times_only_ever_increase(name: str, cron: str, start: datetime) -> None:
    """I6: anywhere, at any time."""
    asked, after = schedule(cron, name), start.replace(tzinfo=UTC)
    one_by_one = []
    for _ in range(20):
        found = next_nominal_at(asked, after)
        assert found is not None
        assert found > after
        one_by_one.append(found)
        after = found
    assert preview(asked, start.replace(tzinfo=UTC), 20) == one_by_one
    assert all(at.microsecond == 0 for at in one_by_one)


def test_the_last_of_very_many_missed_runs_is_found_by_halving() -> None:
    a_week = timedelta(days=7)
    assert last_nominal_before(schedule("* * * * * *"), NOW - a_week, NOW) == NOW.replace(microsecond=0)
    assert last_nominal_before(schedule("* 3 * * *"), NOW - a_week, NOW) == utc("2026-11-23T03:59:00")
    assert last_nominal_before(schedule("0 3 1 * *"), NOW - a_week, NOW) is None
    assert last_nominal_before(schedule("* * * * *"), utc("2026-11-23T09:30:00"), utc("2026-11-23T09:30:00")) is None
    assert last_nominal_before(schedule("* * * * *"), utc("2026-11-23T09:29:00"), utc("2026-11-23T09:30:00")) == utc(
        "2026-11-23T09:29:00"
    )
