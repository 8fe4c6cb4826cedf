"""Ticks: which, how often, and what becomes of one that does not arrive."""

from typing import Any

import pytest

from hosting.template import read_template
from tests.infrastructure.templates import MAIN, Resources, of_type, transformed


@pytest.fixture(scope="module")
def schedules() -> Resources:
    return of_type(transformed()["Resources"], "AWS::Scheduler::Schedule")


def test_every_tick_of_the_local_stack_is_a_schedule_of_eventbridge(schedules: Resources) -> None:
    rates = [each["Properties"]["ScheduleExpression"] for each in schedules.values()]
    assert rates == ["rate(1 minute)"] * len(read_template(MAIN).schedules)
    assert len(rates) == 4


def test_a_tick_is_tried_again_within_its_minute_and_then_kept(schedules: Resources) -> None:
    for each in schedules.values():
        target: dict[str, Any] = each["Properties"]["Target"]
        assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 3}
        assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["MissedTicks", "Arn"]}}
        assert target["RoleArn"] == {"Fn::GetAtt": ["ScheduleRole", "Arn"]}
        assert target["Arn"]["Ref"].endswith("FunctionAliaslive")


def test_one_parameter_stops_them_all(schedules: Resources) -> None:
    assert all(each["Properties"]["State"] == {"Ref": "ScheduleState"} for each in schedules.values())
