"""The watcher as Lambda invokes it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler_core.clock import utc_now
from tests.builders import job_row, seconds, store_jobs, store_merchant
from tests.contexts import a_context
from tests.receivers import Receiver, receiving
from watcher import handler


@pytest.fixture
def lambda_api() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def environment(
    database_url: str, redis_url: str, lambda_api: Receiver, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    for name, value in {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "AWS_ENDPOINT_URL_LAMBDA": lambda_api.url,
        "WATCH_SECONDS": "0.2",
    }.items():
        monkeypatch.setenv(name, value)
    handler._settings.cache_clear()
    handler._watcher.cache_clear()
    yield
    handler._watcher()._database.close()
    handler._watcher.cache_clear()
    handler._settings.cache_clear()


def test_a_lost_job_is_rescued_and_an_executor_woken(database_url: str, lambda_api: Receiver) -> None:
    lost: dict[str, Any] = {
        "status": "running",
        "attempt": 1,
        "next_run_at": None,
        "lease_expires_at": utc_now() - seconds(1),
    }
    [job] = store_jobs(database_url, store_merchant(database_url), now=utc_now(), **lost)
    assert handler.lambda_handler({}, a_context(1))["rescued"] == 1
    assert job_row(database_url, job)["status"] == "retrying"
    assert lambda_api.invoked()[0] == "executor"


def test_an_idle_run_is_one_pass_and_leaves_its_metrics_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert handler.lambda_handler({}, a_context())["passes"] == 1
    metrics = [line for line in capsys.readouterr().out.splitlines() if '"CloudWatchMetrics"' in line]
    written = json.loads(metrics[0])
    assert written["OldestDueAgeSeconds"] == [0.0]
    assert written["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "TaskScheduler"


def test_whoever_is_about_to_claim_gets_a_second_pass() -> None:
    assert handler.lambda_handler({"reason": "unwatched"}, a_context())["passes"] == 2
