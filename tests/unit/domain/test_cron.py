"""Cron expressions: what is understood, what is refused, and that every match is the right one."""

from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_core.domain.cron import MAX_CRON_CHARACTERS, parse
from scheduler_core.domain.errors import InvalidScheduleError

START = datetime.fromisoformat("2026-11-23T09:30")


def matches(expression: str, count: int, start: datetime = START) -> list[str]:
    found, cron = [], parse(expression)
    for _ in range(count):
        reading = cron.next_match(start)
        assert reading is not None
        found.append(reading.strftime("%Y-%m-%d %H:%M:%S"))
        start = reading + timedelta(seconds=1)
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", ["2026-11-23 09:30:00", "2026-11-23 09:31:00"]),
        ("* * * * * *", ["2026-11-23 09:30:00", "2026-11-23 09:30:01"]),
        (
            "*/20 * * * * *",
            ["2026-11-23 09:30:00", "2026-11-23 09:30:20", "2026-11-23 09:30:40", "2026-11-23 09:31:00"],
        ),
        ("15 30 9 * * *", ["2026-11-23 09:30:15", "2026-11-24 09:30:15"]),
        (
            "0 9 * * MON-FRI",
            [
                "2026-11-24 09:00:00",
                "2026-11-25 09:00:00",
                "2026-11-26 09:00:00",
                "2026-11-27 09:00:00",
                "2026-11-30 09:00:00",
            ],
        ),
        (
            "0 9 * * fri-mon",
            [
                "2026-11-27 09:00:00",
                "2026-11-28 09:00:00",
                "2026-11-29 09:00:00",
                "2026-11-30 09:00:00",
                "2026-12-04 09:00:00",
            ],
        ),
        ("0 0 * * 7", ["2026-11-29 00:00:00"]),
        ("0 0 * * 0", ["2026-11-29 00:00:00"]),
        ("0 0 * * 6-7", ["2026-11-28 00:00:00", "2026-11-29 00:00:00", "2026-12-05 00:00:00"]),
        ("0 0 1 JAN,jul ?", ["2027-01-01 00:00:00", "2027-07-01 00:00:00"]),
        ("0 0 L * *", ["2026-11-30 00:00:00", "2026-12-31 00:00:00", "2027-01-31 00:00:00", "2027-02-28 00:00:00"]),
        ("0 0 1,L * *", ["2026-11-30 00:00:00", "2026-12-01 00:00:00", "2026-12-31 00:00:00"]),
        ("0 0 * * FRI#2", ["2026-12-11 00:00:00", "2027-01-08 00:00:00", "2027-02-12 00:00:00"]),
        (
            "0 0 * * 1#1,3#5",
            ["2026-12-07 00:00:00", "2026-12-30 00:00:00", "2027-01-04 00:00:00", "2027-02-01 00:00:00"],
        ),
        ("0 0 * * L5", ["2026-11-27 00:00:00", "2026-12-25 00:00:00", "2027-01-29 00:00:00"]),
        (
            "0 0 31 * fri#2",
            ["2026-12-11 00:00:00", "2026-12-31 00:00:00", "2027-01-08 00:00:00", "2027-01-31 00:00:00"],
        ),
        ("0 0 13 * FRI", ["2026-11-27 00:00:00", "2026-12-04 00:00:00", "2026-12-11 00:00:00", "2026-12-13 00:00:00"]),
        ("10/20 9 * * *", ["2026-11-23 09:30:00", "2026-11-23 09:50:00", "2026-11-24 09:10:00"]),
        ("59/15 9 * * *", ["2026-11-23 09:59:00", "2026-11-24 09:59:00"]),
        ("0 8-18/4 * * *", ["2026-11-23 12:00:00", "2026-11-23 16:00:00", "2026-11-24 08:00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ("  0\t0 1 1 *  ", ["2027-01-01 00:00:00"]),
    ],
)
def test_an_expression_matches_the_readings_it_names(expression: str, expected: list[str]) -> None:
    assert matches(expression, len(expected)) == expected


def test_the_29th_of_february_is_found_across_a_century_without_a_leap_year() -> None:
    assert matches("0 0 29 2 *", 2, datetime.fromisoformat("2096-01-01")) == [
        "2096-02-29 00:00:00",
        "2104-02-29 00:00:00",
    ]


def test_the_rarest_date_is_found() -> None:
    """A fifth Monday in February comes every 28 years, and once only after 40."""
    found = [int(match[:4]) for match in matches("0 0 * 2 MON#5", 5, datetime.fromisoformat("2000-01-01"))]
    assert found == [2016, 2044, 2072, 2112, 2140]


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30,31 FEB *"])
def test_a_date_that_never_comes_is_given_up(expression: str) -> None:
    assert parse(expression).next_match(START) is None


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "there are 0"),
        ("nonsense", "there are 1"),
        ("* * * *", "there are 4"),
        ("* * * * * * *", "there are 7"),
        ("@reboot", "'@reboot' is not known"),
        ("@daily", "write '0 0 * * *'"),
        ("60 * * * *", "60 is not within 0-59"),
        ("* 24 * * *", "24 is not within 0-23"),
        ("* * 0 * *", "0 is not within 1-31"),
        ("* * 32 * *", "32 is not within 1-31"),
        ("* * * 13 *", "13 is not within 1-12"),
        ("* * * * 8", "8 is not within 0-7"),
        ("60 * * * * *", "second: 60"),
        ("-1 * * * *", "'-1' is not understood"),
        ("1.5 * * * *", "'1.5' is not understood"),
        ("5-5 * * * *", "begins where it ends"),
        ("0 0 * * SUN-SUN", "begins where it ends"),
        ("0 0 * * 7-0", "begins where it ends"),
        ("50-10 * * * *", "runs backwards"),
        ("0 22-2 * * *", "runs backwards"),
        ("0 0 * * FRI-MON/2", "runs backwards"),
        ("*/0 * * * *", "step"),
        ("*/60 * * * *", "step"),
        ("1/2/3 * * * *", "not understood"),
        ("*,5 * * * *", "* in a list"),
        ("1,,2 * * * *", "not understood"),
        (",1 * * * *", "not understood"),
        ("? * * * *", "not understood"),
        ("R * * * *", "'R' is not understood"),
        ("R(0-5) * * * *", "not understood"),
        ("H * * * *", "'H' is not understood"),
        ("H/5 * * * *", "'H' is not understood"),
        ("0 0 15W * *", "not understood"),
        ("0 0 L-3 * *", "not understood"),
        ("0 0 * L *", "not understood"),
        ("0 0 * * MON#0", "not understood"),
        ("0 0 * * MON#6", "not understood"),
        ("0 0 * * *#2", "not understood"),
        ("0 0 * * MON-FRI#2", "not understood"),
        ("0 0 * * MON#1,FRI", "mixing"),
        ("0 0 * * L8", "not understood"),
        ("0 0 * MON *", "'MON' is not understood"),
        ("0 0 * * JAN", "'JAN' is not understood"),
        ("0 0 * * MONDAY", "'MONDAY' is not understood"),
        ("\uff10 0 * * *", "plain letters"),
        ("0\u00a00 * * *", "plain letters"),
        ("\u0660 0 * * *", "plain letters"),
        ("0 0 1 1 * 2027 *", "there are 7"),
        ("0," * MAX_CRON_CHARACTERS + "0 * * * *", "longer than"),
    ],
)
def test_what_is_not_certain_is_refused_with_a_reason(expression: str, said: str) -> None:
    with pytest.raises(InvalidScheduleError) as refusal:
        parse(expression)
    assert said in str(refusal.value)


LOOKALIKES = st.lists(
    st.sampled_from([*"0123456789*/-,#LWRH?@ ", "MON", "JAN", "SUN-", "*/", " * * *"]), max_size=25
).map("".join)


@given(st.one_of(st.text(max_size=30), LOOKALIKES))
def test_any_text_is_understood_or_refused(text: str) -> None:
    with suppress(InvalidScheduleError):
        assert parse(text).seconds


def field(lowest: int, highest: int) -> st.SearchStrategy[str]:
    value = st.integers(lowest, highest)
    span = st.tuples(value, value).filter(lambda ends: ends[0] < ends[1])
    item = st.one_of(
        value.map(str),
        span.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.tuples(span, st.integers(1, highest)).map(lambda it: f"{it[0][0]}-{it[0][1]}/{it[1]}"),
        st.tuples(value, st.integers(1, highest)).map(lambda it: f"{it[0]}/{it[1]}"),
    )
    return st.one_of(
        st.just("*"), st.integers(1, highest).map("*/{}".format), st.lists(item, min_size=1, max_size=3).map(",".join)
    )


EXPRESSIONS = st.tuples(
    field(0, 59), field(0, 59), field(0, 23), st.one_of(field(1, 28), st.just("L")), field(1, 12), field(0, 6)
).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS, st.datetimes(datetime.fromisoformat("1990-01-01"), datetime.fromisoformat("2080-01-01")))
def test_matches_are_those_that_croniter_walks_through(expression: str, start: datetime) -> None:
    start = start.replace(microsecond=0)
    walk = croniter(expression, start, second_at_beginning=True)
    cron = parse(expression)
    for _ in range(5):
        reading = cron.next_match(start + timedelta(seconds=1))
        assert reading == walk.get_next(datetime)
        start = reading
