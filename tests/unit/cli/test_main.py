"""The program as a whole: help, start-up, exit codes, machine output."""

import json
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.exits import MEANINGS
from cli.main import app
from tests.unit.cli.stub import StubApi


def test_help_names_every_exit_code() -> None:
    answer = CliRunner().invoke(app, ["--help"])
    assert answer.exit_code == 0
    for code in MEANINGS:
        assert f"  {int(code)} " in answer.stdout


def test_importing_the_program_loads_no_driver_and_no_http_library() -> None:
    heavy = "{'httpx', 'psycopg', 'redis', 'pydantic', 'boto3'}"
    loaded = f"import sys, cli.main; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_mistyped_command_is_a_usage_error_with_a_suggestion(api: StubApi) -> None:
    answer = api.run("jobs", "lits")
    assert answer.exit_code == 2
    assert "list" in answer.stderr


def test_a_usage_error_is_json_for_a_machine(api: StubApi) -> None:
    answer = api.run("jobs", "create", "--in", "5s", "--at", "09:00", "--url", "https://example.com", "--json")
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert "--in or --at" in json.loads(answer.stderr)["error"]["detail"]
    assert api.asked == []


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, 5), (403, 5), (404, 3), (409, 4), (413, 6), (422, 6), (429, 7), (500, 7), (503, 7), (307, 7)],
)
def test_each_answer_of_the_service_has_its_exit_code(api: StubApi, status: int, code: int) -> None:
    api.on("GET", "/stats", (status, {"title": "It did not work", "status": status}))
    answer = api.run("stats", "--json")
    assert answer.exit_code == code
    assert answer.stdout == ""
    assert json.loads(answer.stderr)["error"]["exit_code"] == code


def test_a_problem_is_shown_with_a_line_for_each_fault(api: StubApi) -> None:
    faults = [
        {"detail": "is required", "pointer": "/target/url"},
        {"detail": "is not a known parameter", "parameter": "colour"},
    ]
    problem: dict[str, Any] = {"title": "The request is not valid", "status": 422, "errors": faults}
    api.on("POST", "/jobs", (422, problem, {"content-type": "application/problem+json"}))
    answer = api.run("jobs", "create", "--url", "https://example.com")
    assert answer.exit_code == 6
    assert "The request is not valid" in answer.stderr
    assert "/target/url  is required" in answer.stderr
    assert "colour  is not a known parameter" in answer.stderr


def test_an_answer_that_says_come_back_later_is_shown_with_its_time(api: StubApi) -> None:
    api.on("GET", "/stats", (503, {"title": "A store is away"}, {"retry-after": "5"}))
    answer = api.run("stats")
    assert answer.exit_code == 7
    assert "try again in 5 s" in answer.stderr


def test_a_service_that_is_not_there_is_unavailable() -> None:
    env = {"SCHEDULER_URL": "http://127.0.0.1:9", "SCHEDULER_API_KEY": "ts_test"}
    assert CliRunner(env=env).invoke(app, ["stats"]).exit_code == 7


def test_a_server_that_is_something_else_is_unavailable(api: StubApi) -> None:
    api.on("GET", "/health", (200, ["hello"]))
    assert api.run("health").exit_code == 7


def test_without_a_key_nothing_is_sent(api: StubApi) -> None:
    answer = api.run("stats", key=None)
    assert answer.exit_code == 5
    assert "SCHEDULER_API_KEY" in answer.stderr
    assert api.asked == []


def test_health_needs_no_key(api: StubApi) -> None:
    api.on("GET", "/health", (200, {"status": "ok"}))
    assert api.run("health", key=None).exit_code == 0


def test_health_of_a_degraded_service_is_still_well(api: StubApi) -> None:
    api.on("GET", "/health", (200, {"status": "degraded", "redis": "down"}))
    answer = api.run("health", "--json")
    assert answer.exit_code == 0
    assert json.loads(answer.stdout)["redis"] == "down"


def test_health_of_a_service_that_is_down_shows_what_is_away(api: StubApi) -> None:
    api.on("GET", "/health", (503, {"status": 503, "title": "A store is away", "stores": {"database": "down"}}))
    answer = api.run("health", "--json")
    assert answer.exit_code == 7
    assert json.loads(answer.stdout)["stores"]["database"] == "down"


def test_stats_are_told_in_words(api: StubApi) -> None:
    told = {"counts": {"pending": 2, "failed": 1}, "counts_complete": True, "oldest_due_age_seconds": 65.0}
    api.on("GET", "/stats", (200, {**told, "completed_last_hour": 1_500, "failed_last_hour": 1}))
    answer = api.run("stats")
    assert "waits for 1m 5s" in answer.stdout
    assert "1,500 completed, 1 failed" in answer.stdout


def test_an_option_goes_before_the_environment(api: StubApi) -> None:
    api.on("GET", "/stats", (200, {}))
    assert api.run("stats", "--api-key", "ts_other", "--json").exit_code == 0
    assert api.asked[0].headers["x-api-key"] == "ts_other"
