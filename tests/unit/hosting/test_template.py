"""What the local stack takes from a SAM template."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from hosting.template import TemplateError, read_template

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "tests" / "fixtures" / "template.yaml"


def test_a_function_has_its_own_and_the_shared_environment() -> None:
    stub = read_template(SAMPLE).function("stub")
    assert stub.handler == "stub.handler.lambda_handler"
    assert (stub.timeout_seconds, stub.memory_mb, stub.max_retry_attempts) == (2, 256, 1)
    assert stub.environment["EVERYWHERE"] == "yes"
    assert stub.environment["ONLY_HERE"] == "1"


def test_an_intrinsic_function_is_resolved_where_a_default_allows_it() -> None:
    environment = read_template(SAMPLE).function("stub").environment
    assert environment["FROM_DEFAULT"] == "7"
    assert environment["FROM_NOWHERE"] is None
    assert environment["NAMED"] is None


def test_a_function_without_numbers_has_those_of_lambda() -> None:
    gate = read_template(SAMPLE).function("gate")
    assert (gate.timeout_seconds, gate.memory_mb, gate.max_retry_attempts) == (3, 128, 2)


def test_routes_have_the_default_authorizer_unless_they_refuse_it() -> None:
    routes = {route.key: route for route in read_template(SAMPLE).routes}
    assert routes["GET /open"].authorizer is None
    assert routes["POST /things"].authorizer == "Gate"
    assert routes["POST /things"].function == "stub"


def test_the_authorizer_says_where_the_identity_is_and_how_long_its_answer_holds() -> None:
    (gate,) = read_template(SAMPLE).authorizers
    assert (gate.function, gate.headers, gate.ttl_seconds) == ("gate", ("x-api-key",), 60)


def test_an_authorizer_without_an_alias_is_found_too(tmp_path: Path) -> None:
    plain = tmp_path / "template.yaml"
    text = SAMPLE.read_text(encoding="utf-8")
    plain.write_text(re.sub(r"FunctionArn: .*", "FunctionArn: !GetAtt GateFunction.Arn", text), encoding="utf-8")
    assert [each.function for each in read_template(plain).authorizers] == ["gate"]


def test_a_time_to_live_that_only_a_deploy_decides_is_refused(tmp_path: Path) -> None:
    """Better than to keep answers for another time than AWS does."""
    odd = tmp_path / "template.yaml"
    text = SAMPLE.read_text(encoding="utf-8")
    odd.write_text(text.replace("!Ref Remembered", "!Ref Given"), encoding="utf-8")
    with pytest.raises(TemplateError, match="ReauthorizeEvery"):
        read_template(odd)


def test_schedules_of_both_kinds_are_read() -> None:
    schedules = {schedule.name: schedule.every for schedule in read_template(SAMPLE).schedules}
    assert schedules == {"Often": timedelta(minutes=1), "Seldom": timedelta(hours=2)}


def test_a_schedule_that_cannot_be_fired_is_refused(tmp_path: Path) -> None:
    odd = tmp_path / "template.yaml"
    odd.write_text(
        SAMPLE.read_text(encoding="utf-8").replace("rate(2 hours)", '"cron(0 12 * * ? *)"'), encoding="utf-8"
    )
    with pytest.raises(TemplateError, match="cron"):
        read_template(odd)


def test_the_projects_own_template_has_every_function_and_route_of_the_design() -> None:
    template = read_template(ROOT / "template.yaml")
    timeouts = {function.name: function.timeout_seconds for function in template.functions}
    assert timeouts == {
        "api": 29,
        "authorizer": 5,
        "populator": 60,
        "executor": 900,
        "watcher": 70,
        "recurrence": 60,
        "migrator": 300,
    }
    assert {s.function for s in template.schedules} == {"populator", "executor", "watcher", "recurrence"}
    assert {s.every for s in template.schedules} == {timedelta(minutes=1)}
    assert {r.key for r in template.routes if r.authorizer is None} == {"GET /health", "GET /openapi.json", "GET /docs"}
    assert {r.key for r in template.routes if r.authorizer} == {
        "POST /jobs",
        "POST /jobs/batch",
        "GET /jobs",
        "GET /jobs/{id}",
        "GET /jobs/{id}/executions",
        "PATCH /jobs/{id}",
        "DELETE /jobs/{id}",
        "POST /jobs/{id}/run",
        "POST /jobs/{id}/retry",
        "POST /templates",
        "GET /templates",
        "GET /templates/{id}",
        "PATCH /templates/{id}",
        "DELETE /templates/{id}",
        "GET /templates/{id}/preview",
        "POST /templates/preview",
        "POST /templates/{id}/run",
        "GET /stats",
    }
    assert [a.ttl_seconds for a in template.authorizers] == [60]
