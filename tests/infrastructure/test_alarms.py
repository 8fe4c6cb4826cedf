"""Whatever can go wrong rings, and whoever is woken finds out what to do."""

import json
import re
from typing import Any

import pytest

from tests.infrastructure.templates import FUNCTIONS, MAIN, MONITORING, ROOT, Resources, of_type, read, references

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return read(MONITORING)


@pytest.fixture(scope="module")
def alarms(document: dict[str, Any]) -> Resources:
    return of_type(document["Resources"], "AWS::CloudWatch::Alarm")


def test_every_alarm_goes_to_the_topic_and_says_when_it_is_over(alarms: Resources) -> None:
    for each in alarms.values():
        assert each["Properties"]["AlarmActions"] == [{"Ref": "AlertTopicArn"}]
        assert each["Properties"]["OKActions"] == [{"Ref": "AlertTopicArn"}]
        assert each["Properties"]["AlarmDescription"]
        assert each["Properties"]["TreatMissingData"]


def test_every_alarm_is_in_the_operators_table(alarms: Resources) -> None:
    table = re.findall(r"^\| `(\w+)` \| [^|]{10,} \| [^|]{20,} \|$", OPERATIONS, flags=re.MULTILINE)
    assert sorted(alarms) == sorted(table)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_every_function_is_watched(alarms: Resources, function: str, metric: str) -> None:
    of_function = [{"Name": "FunctionName", "Value": {"Ref": f"{function.title()}Function"}}]
    found = [
        each
        for each in alarms.values()
        if each["Properties"].get("MetricName") == metric and each["Properties"].get("Dimensions") == of_function
    ]
    assert len(found) == 1


def test_both_queues_of_failures_are_watched(alarms: Resources) -> None:
    queues = {
        each["Properties"]["Dimensions"][0]["Value"]["Ref"]
        for each in alarms.values()
        if each["Properties"].get("Namespace") == "AWS/SQS"
    }
    assert queues == {"MissedTicksQueue", "FailedInvocationsQueue"}


def test_the_metrics_are_those_that_the_watcher_writes(alarms: Resources) -> None:
    """With the namespace that the functions are given, and the watcher's name as its dimension."""
    variables = read(MAIN)["Globals"]["Function"]["Environment"]["Variables"]
    namespace = {"Fn::Sub": variables["SERVICE_NAMESPACE"]["Fn::Sub"].replace("AWS::StackName", "Name")}
    ours = [
        metric
        for each in alarms.values()
        for metric in metrics_of(each["Properties"])
        if metric["Namespace"] == namespace
    ]
    assert {each["MetricName"] for each in ours} == {
        "OldestDueAgeSeconds", "CompletedLastMinute", "FailedLastMinute", "JobsRescued",
    }  # fmt: skip
    assert all(each["Dimensions"] == [{"Name": "service", "Value": "watcher"}] for each in ours)


def metrics_of(properties: dict[str, Any]) -> list[dict[str, Any]]:
    if "MetricName" in properties:
        return [properties]
    return [each["MetricStat"]["Metric"] for each in properties["Metrics"] if "MetricStat" in each]


@pytest.mark.parametrize(
    ("due", "completed", "failed", "rings"),
    [(61, 0, 0, True), (61, 1, 0, False), (61, 0, 1, False), (60, 0, 0, False), (0, 0, 0, False), (900, 0, 0, True)],
)
def test_no_deliveries_although_due_is_what_the_expression_says(
    alarms: Resources, due: int, completed: int, failed: int, rings: bool
) -> None:
    metrics = {each["Id"]: each for each in alarms["NoDeliveries"]["Properties"]["Metrics"]}
    expression = metrics["stuck"]["Expression"]
    match = re.fullmatch(r"IF\(due > (\d+) AND FILL\(completed, 0\) \+ FILL\(failed, 0\) < (\d+), 1, 0\)", expression)
    assert match is not None, expression
    assert (due > int(match[1]) and completed + failed < int(match[2])) is rings
    assert alarms["NoDeliveries"]["Properties"]["EvaluationPeriods"] == {"Ref": "AlarmMinutes"}


def test_a_watcher_that_says_nothing_rings_unless_ticks_are_off(alarms: Resources) -> None:
    silent = alarms["WatcherSilent"]
    assert silent["Condition"] == "Ticks"
    assert silent["Properties"]["TreatMissingData"] == "breaching"


def test_the_dashboard_is_json_and_shows_every_function_and_every_metric_of_the_watcher(
    document: dict[str, Any],
) -> None:
    text, _ = document["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(text)["widgets"]
    for function in FUNCTIONS:
        assert f"${{{function.title()}Function}}" in text
    for metric in ("OldestDueAgeSeconds", "CompletedLastMinute", "FailedLastMinute", "JobsRescued", "JobsExpired"):
        assert metric in text
    places = {(each["x"], each["y"]) for each in widgets}
    assert len(places) == len(widgets), "no two widgets in one place"
    assert all(each["x"] + each["width"] <= 24 for each in widgets)


def test_everything_that_monitoring_asks_for_is_passed(document: dict[str, Any]) -> None:
    passed = read(MAIN)["Resources"]["Monitoring"]["Properties"]["Parameters"]
    assert set(passed) == set(document["Parameters"])
    unused = set(document["Parameters"]) - references(document["Resources"]) - references(document["Conditions"])
    assert unused == set()
