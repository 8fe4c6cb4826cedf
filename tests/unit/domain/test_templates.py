"""Which runs are due: look-ahead, catch-up after downtime, bounds; and that every run is always the same one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.domain.recurrence import Schedule, next_nominal_at
from scheduler_core.domain.templates import CatchUp, Timetable, coming, next_run_at, run_for, runs_due

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
LOOK_AHEAD = timedelta(seconds=150)
MOST = 500


def timetable(cron: str = "* * * * *", *, since: datetime = NOW, **given: Any) -> Timetable:
    schedule = Schedule(cron=cron, created_at=since)
    return replace(
        Timetable(
            id=UUID(int=7), merchant_id=UUID(int=1), schedule=schedule, next_nominal_at=next_nominal_at(schedule, since)
        ),
        **given,
    )


def minutes(*at: str) -> tuple[datetime, ...]:
    return tuple(datetime.fromisoformat(f"2026-11-23T{each}:00+00:00") for each in at)


def test_runs_are_made_as_far_as_the_look_ahead() -> None:
    plan = runs_due(timetable(), NOW, LOOK_AHEAD, MOST)
    assert plan.nominal_times == minutes("09:31", "09:32")
    assert (plan.next_nominal_at,) == minutes("09:33")


def test_nothing_is_made_before_its_time() -> None:
    plan = runs_due(timetable("0 12 * * *"), NOW, LOOK_AHEAD, MOST)
    assert plan.nominal_times == ()
    assert (plan.next_nominal_at,) == minutes("12:00")


def test_one_pass_makes_a_bounded_number_and_leaves_the_rest_due() -> None:
    """I8."""
    plan = runs_due(timetable("* * * * * *"), NOW, LOOK_AHEAD, 10)
    assert len(plan.nominal_times) == 10
    assert plan.next_nominal_at == NOW + timedelta(seconds=11)


def test_a_schedule_that_ends_leaves_nothing_to_come() -> None:
    ending = timetable(schedule=Schedule(cron="* * * * *", created_at=NOW, end_at=NOW + timedelta(minutes=1)))
    assert runs_due(ending, NOW, LOOK_AHEAD, MOST).nominal_times == minutes("09:31")
    assert runs_due(ending, NOW, LOOK_AHEAD, MOST).next_nominal_at is None


def test_no_more_runs_are_made_than_wanted() -> None:
    assert runs_due(timetable(max_runs=5, runs=4), NOW, LOOK_AHEAD, MOST).nominal_times == minutes("09:31")
    exhausted = runs_due(timetable(max_runs=5, runs=5), NOW, LOOK_AHEAD, MOST)
    assert (exhausted.nominal_times, exhausted.next_nominal_at) == ((), None)


# Catch-up ----------------------------------------------------------------------------------------------------------

AN_HOUR_AGO = NOW - timedelta(hours=1)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (CatchUp.ONCE, minutes("09:20", "09:30")),
        (CatchUp.ALL, minutes("08:40", "08:50", "09:00", "09:10", "09:20", "09:30")),
        (CatchUp.NONE, minutes("09:30")),
    ],
)
def test_missed_runs_are_caught_up_as_the_policy_says(policy: CatchUp, expected: tuple[datetime, ...]) -> None:
    missed = timetable("*/10 * * * *", since=AN_HOUR_AGO, catch_up=policy)
    plan = runs_due(missed, NOW, LOOK_AHEAD, MOST)
    assert plan.nominal_times == expected
    assert (plan.next_nominal_at,) == minutes("09:40")


@pytest.mark.parametrize(
    ("policy", "window_seconds", "expected"),
    [
        (CatchUp.ONCE, 600, minutes("09:20", "09:30")),
        (CatchUp.ONCE, 599, minutes("09:30")),
        (CatchUp.ONCE, 0, minutes("09:30")),
        (CatchUp.ALL, 1_200, minutes("09:10", "09:20", "09:30")),
        (CatchUp.ALL, 0, minutes("09:30")),
    ],
)
def test_what_was_missed_too_long_ago_is_not_caught_up(
    policy: CatchUp, window_seconds: int, expected: tuple[datetime, ...]
) -> None:
    missed = timetable("*/10 * * * *", since=AN_HOUR_AGO, catch_up=policy, catch_up_window_seconds=window_seconds)
    assert runs_due(missed, NOW, LOOK_AHEAD, MOST).nominal_times == expected


def test_catching_all_up_goes_on_in_the_next_pass() -> None:
    missed = timetable("* * * * *", since=AN_HOUR_AGO, catch_up=CatchUp.ALL)
    made: list[datetime] = []
    while missed.next_nominal_at is not None and missed.next_nominal_at <= NOW + LOOK_AHEAD:
        plan = runs_due(missed, NOW, LOOK_AHEAD, 7)
        assert 0 < len(plan.nominal_times) <= 7
        made += plan.nominal_times
        missed = replace(missed, next_nominal_at=plan.next_nominal_at)
    assert made[0] == AN_HOUR_AGO + timedelta(minutes=1)
    assert {later - sooner for sooner, later in pairwise(made)} == {timedelta(minutes=1)}
    assert len(made) == 62


def test_a_week_of_missed_seconds_costs_no_walk() -> None:
    """I8: 604,800 nominal times were missed; the latest is found at once."""
    a_week = timedelta(days=7)
    missed = timetable("* * * * * *", since=NOW - a_week, catch_up_window_seconds=604_800)
    plan = runs_due(missed, NOW, timedelta(), MOST)
    assert plan.nominal_times == (NOW - timedelta(seconds=1), NOW)


def test_a_schedule_whose_end_passed_in_the_downtime_still_gets_its_last_run() -> None:
    schedule = Schedule(cron="*/10 * * * *", created_at=AN_HOUR_AGO, end_at=NOW - timedelta(minutes=15))
    plan = runs_due(timetable(schedule=schedule, next_nominal_at=minutes("08:40")[0]), NOW, LOOK_AHEAD, MOST)
    assert (plan.nominal_times, plan.next_nominal_at) == (minutes("09:10"), None)


@given(
    st.sampled_from(["* * * * *", "*/10 * * * * *", "0 * * * *", "0 3 * * *"]),
    st.sampled_from(list(CatchUp)),
    st.lists(st.integers(1, 10_000), min_size=1, max_size=8),
    st.integers(1, 50),
)
def test_however_passes_fall_no_nominal_time_is_planned_twice_or_out_of_order(
    cron: str, policy: CatchUp, pauses: list[int], most: int
) -> None:
    """I5, I6."""
    state, now, planned = timetable(cron, catch_up=policy), NOW, list[datetime]()
    for pause in pauses:
        now += timedelta(seconds=pause)
        plan = runs_due(state, now, LOOK_AHEAD, most)
        assert len(plan.nominal_times) <= most
        planned += plan.nominal_times
        state = replace(state, next_nominal_at=plan.next_nominal_at)
    assert all(sooner < later for sooner, later in pairwise(planned))


# Runs --------------------------------------------------------------------------------------------------------------


def test_a_run_is_always_the_same_for_one_nominal_time() -> None:
    """I5: whoever makes it, and when, it has one id and one jitter."""
    first = run_for(timetable(jitter_seconds=60), NOW)
    assert run_for(timetable(jitter_seconds=60, runs=3), NOW) == first
    assert run_for(timetable(), NOW).id == first.id
    assert run_for(timetable(), NOW + timedelta(seconds=1)).id != first.id


@given(st.integers(0, 86_400), st.integers(0, 10_000))
def test_jitter_delays_a_run_within_its_bounds_and_never_moves_its_nominal_time(
    jitter_seconds: int, minute: int
) -> None:
    """I6."""
    nominal_at = NOW + timedelta(minutes=minute)
    run = run_for(timetable(jitter_seconds=jitter_seconds), nominal_at)
    assert run.nominal_at == nominal_at
    assert timedelta() <= run.scheduled_at - nominal_at <= timedelta(seconds=jitter_seconds)


def test_jitter_spreads() -> None:
    delays = {run_for(timetable(jitter_seconds=60), NOW + timedelta(minutes=n)).scheduled_at.second for n in range(300)}
    assert len(delays) > 50


# What producers see ------------------------------------------------------------------------------------------------


def test_the_next_run_is_the_next_nominal_time_even_if_its_job_exists() -> None:
    (coming, later, beyond) = minutes("09:31", "09:32", "09:33")
    made = timetable(last_nominal_at=later, next_nominal_at=beyond)
    assert next_run_at(made, NOW) == coming
    assert next_run_at(replace(made, active=False), NOW) is None


def test_a_template_that_has_made_all_its_runs_still_has_those_to_come() -> None:
    (coming,) = minutes("09:31")
    last = timetable(last_nominal_at=coming, next_nominal_at=None, max_runs=1, runs=1)
    assert next_run_at(last, NOW) == coming
    assert next_run_at(last, coming) is None


def test_what_comes_ends_with_max_runs_unless_that_is_very_far_away() -> None:
    assert coming(timetable(max_runs=2), NOW, 5, NOW) == list(minutes("09:31", "09:32"))
    assert coming(timetable(max_runs=2, runs=2, last_nominal_at=NOW, next_nominal_at=None), NOW, 5, NOW) == []
    assert len(coming(timetable(max_runs=1_000_000), NOW, 5, NOW)) == 5
    assert len(coming(timetable(), NOW - timedelta(days=365), 5, NOW)) == 5
