"""The command line against the whole stack: real HTTP, real handlers, real deliveries."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bench.stack import StackProcess, own_stack
from cli.main import app

Run = Callable[..., Result]
SHORT_LEASES = {"LEASE_SECONDS": "3", "HEARTBEAT_SECONDS": "0.5", "WATCH_SECONDS": "0.5"}


@pytest.fixture(scope="module")
def stack() -> Iterator[StackProcess]:
    with tempfile.TemporaryDirectory(prefix="task-scheduler-cli-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with own_stack(Path(folder), SHORT_LEASES) as running:
            yield running


@pytest.fixture
def run(stack: StackProcess) -> Run:
    env = {
        "SCHEDULER_URL": stack.address.url,
        "SCHEDULER_API_KEY": stack.address.key,
        "DATABASE_URL": stack.facts["database_url"],
        "SIGNING_KEY": stack.facts["signing_key"],
        "COLUMNS": "80",
    }
    return lambda *args, **more: CliRunner(env={**env, **more}).invoke(app, list(args))


def told(answer: Result) -> Any:
    assert answer.exit_code == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.fixture
def echo(stack: StackProcess) -> str:
    return str(stack.facts["echo_url"])


def test_a_job_is_asked_for_and_watched_to_its_end(run: Run, echo: str) -> None:
    ended = told(run("jobs", "create", "--url", f"{echo}/hook", "--payload", '{"n": 1}', "--watch", "--json"))
    assert ended["status"] == "completed"
    assert [each["http_status"] for each in ended["executions"]] == [200]
    assert run("jobs", "show", ended["id"]).exit_code == 0


def test_a_job_that_fails_is_redriven(run: Run, echo: str) -> None:
    refused = run("jobs", "create", "--url", f"{echo}/hook?status=400", "--watch", "--json")
    assert refused.exit_code == 1
    failed = json.loads(refused.stdout.splitlines()[-1])
    assert failed["status"] == "failed"
    assert run("jobs", "retry", failed["id"], "--watch").exit_code == 1
    assert len(told(run("jobs", "show", failed["id"], "--json"))["executions"]) == 2


def test_a_waiting_job_is_run_at_once(run: Run, echo: str) -> None:
    waiting = told(run("jobs", "create", "--url", f"{echo}/hook", "--in", "1d", "--json"))
    assert told(run("jobs", "run", waiting["id"], "--watch", "--json"))["status"] == "completed"


def test_a_cancelled_job_cannot_be_cancelled_again(run: Run, echo: str) -> None:
    waiting = told(run("jobs", "create", "--url", f"{echo}/hook", "--in", "1d", "--json"))
    assert told(run("jobs", "cancel", waiting["id"], "--json"))["status"] == "cancelled"
    assert run("jobs", "cancel", waiting["id"]).exit_code == 4


def test_one_idempotency_key_makes_one_job(run: Run, echo: str) -> None:
    ask = ("jobs", "create", "--url", f"{echo}/hook", "--in", "1d", "--idempotency-key", "once", "--json")
    assert told(run(*ask))["id"] == told(run(*ask))["id"]


def test_a_listing_is_filtered_by_several_statuses(run: Run, echo: str) -> None:
    told(run("jobs", "create", "--url", f"{echo}/hook", "--in", "1d", "--reference", "listed", "--json"))
    listed = told(run("jobs", "list", "--status", "pending", "--status", "retrying", "--reference", "listed", "--json"))
    assert [each["reference_id"] for each in listed["items"]] == ["listed"]


def test_a_private_address_is_refused_with_its_place(run: Run) -> None:
    answer = run("jobs", "create", "--url", "http://10.0.0.1/", "--json")
    assert answer.exit_code == 6
    assert json.loads(answer.stderr)["error"]["errors"][0]["place"] == "/target/url"


def test_a_key_does_only_what_it_may(run: Run, echo: str) -> None:
    """A key from the command line works at once, and a missing permission is exit code 5."""
    key = told(run("keys", "create", "demo", "--permission", "jobs:read", "--environment", "test", "--json"))["key"]
    assert run("jobs", "list", SCHEDULER_API_KEY=key).exit_code == 0
    assert run("jobs", "create", "--url", f"{echo}/hook", SCHEDULER_API_KEY=key).exit_code == 5


def test_another_merchants_job_is_not_found(run: Run, echo: str) -> None:
    """I7 from the outside."""
    theirs = told(run("jobs", "create", "--url", f"{echo}/hook", "--in", "1d", "--json"))["id"]
    told(run("merchants", "create", "other", "--json"))
    key = told(run("keys", "create", "other", "--json"))["key"]
    assert run("jobs", "show", theirs, SCHEDULER_API_KEY=key).exit_code == 3


def test_a_template_is_made_previewed_paused_run_and_removed(run: Run, echo: str) -> None:
    made = told(run("templates", "create", "tick", "--every", "1h", "--url", f"{echo}/tick", "--json"))
    assert len(told(run("templates", "preview", made["id"], "--count", "3", "--json"))["items"]) == 3
    assert told(run("templates", "pause", made["id"], "--json"))["active"] is False
    assert told(run("templates", "resume", made["id"], "--json"))["active"] is True
    job = told(run("templates", "run", made["id"], "--json"))
    assert told(run("jobs", "watch", job["id"], "--json"))["template_id"] == made["id"]
    assert [each["name"] for each in told(run("templates", "list", "--json"))["items"]] == ["tick"]
    assert run("templates", "show", made["id"]).exit_code == 0
    assert told(run("templates", "delete", made["id"], "--json")) == {"deleted": made["id"]}
    assert run("templates", "show", made["id"]).exit_code == 3


def test_health_and_stats_answer(run: Run) -> None:
    assert told(run("health", "--json"))["status"] == "ok"
    assert set(told(run("stats", "--json"))["counts"]) >= {"pending", "completed", "failed"}
    assert run("stats").exit_code == 0


def test_precision_is_measured_through_the_running_stack(run: Run) -> None:
    verdict = told(
        run("bench", "precision", "--jobs", "20", "--rate", "40", "--lead", "0.5", "--longest-lead", "1", "--json")
    )
    assert (verdict["jobs"], verdict["missing"], verdict["early"], verdict["duplicates"]) == (20, 0, 0, 0)


def test_a_broken_bound_is_exit_code_1(run: Run) -> None:
    answer = run("bench", "precision", "--jobs", "2", "--lead", "0.2", "--longest-lead", "0.3", "--max-p50-ms", "0")
    assert answer.exit_code == 1
