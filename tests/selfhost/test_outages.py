"""Whatever goes away comes back, and no job is lost (I4); what ends in an orderly way delivers nothing twice."""

import json
import time
from collections import Counter
from typing import Any

import pytest

from tests.contract.system import Caller, Echo
from tests.selfhost.installation import LONG_LIVED, STOP_SECONDS, Installation, docker, until

_MOST = 200
"""Jobs of one test: a page of the API."""


def post(caller: Caller, echo: Echo, count: int, path: str, **more: Any) -> list[str]:
    """So many jobs; answers their ids."""
    assert count <= _MOST
    jobs = [{"target": echo.at(path), **more} for _ in range(count)]
    told = caller.post("/jobs/batch", {"jobs": jobs}).json()
    assert told["created"] == count, told
    return [each["id"] for each in told["items"]]


def arrivals(echo: Echo, ids: list[str]) -> Counter[str]:
    """How often each was delivered."""
    items = echo.http.get("/received", params={"limit": 100_000}).json()["items"]
    return Counter(each["webhook_id"] for each in items if each["webhook_id"] in set(ids))


def all_completed(caller: Caller, ids: list[str]) -> bool:
    """Whether these, the last that were made, are."""
    completed = caller.get(f"/jobs?status=completed&limit={_MOST}")
    return completed.status_code == 200 and {each["id"] for each in completed.json()["items"]} >= set(ids)


@pytest.fixture(autouse=True)
def well(installation: Installation) -> None:
    """Each test finds the installation well, whatever the one before has done."""
    if len(installation.containers("workers")) != 1 or not all(map(installation.is_healthy, LONG_LIVED)):
        installation.compose("up", "--detach", "--wait", "--scale", "workers=1")
    until(lambda: installation.health() == (200, "ok"), "the API is well")


def test_a_job_for_now_wakes_the_workers_at_once(caller: Caller, echo: Echo) -> None:
    (job,) = post(caller, echo, 1, "/now")
    took = until(lambda: arrivals(echo, [job])[job] == 1, "delivered", 10)
    assert took < 5, "nobody was woken: the next tick brought it"


def test_workers_that_are_asked_to_end_finish_their_deliveries(
    installation: Installation, caller: Caller, echo: Echo
) -> None:
    ids = post(caller, echo, 20, "/slow?delay_ms=4000")
    until(lambda: len(arrivals(echo, ids)) == 20, "under way")
    installation.compose("stop", "workers")
    assert installation.inspect("workers")["State"]["ExitCode"] == 0
    assert all_completed(caller, ids)
    assert set(arrivals(echo, ids).values()) == {1}


def test_what_takes_too_long_to_finish_is_given_back(installation: Installation, caller: Caller, echo: Echo) -> None:
    (job,) = post(caller, echo, 1, "/slower?delay_ms=50000", timeout_seconds=60)
    until(lambda: arrivals(echo, [job])[job] == 1, "under way")
    started = time.monotonic()
    installation.compose("stop", "workers")
    assert STOP_SECONDS - 2 < time.monotonic() - started < STOP_SECONDS + 8
    assert caller.job(job)["status"] == "retrying"
    assert caller.outcomes(job)[0][0] == "lost"
    assert caller.delete(f"/jobs/{job}").json()["status"] == "cancelled"


def test_workers_that_are_killed_lose_nothing(installation: Installation, caller: Caller, echo: Echo) -> None:
    ids = post(caller, echo, 50, "/killed?delay_ms=2000")
    until(lambda: len(arrivals(echo, ids)) > 0, "under way")
    installation.crash("workers")
    until(lambda: all_completed(caller, ids), "all completed")
    assert installation.inspect("workers")["RestartCount"] >= 1
    assert set(arrivals(echo, ids)) == set(ids)


def test_a_gateway_that_is_killed_is_there_again(installation: Installation, caller: Caller) -> None:
    installation.crash("gateway")
    until(lambda: installation.health() == (200, "ok"), "the API answers", 30)
    assert caller.get("/stats").status_code == 200


def test_an_emptied_redis_loses_nothing_and_repeats_nothing(
    installation: Installation, caller: Caller, echo: Echo
) -> None:
    ids = post(caller, echo, 100, "/redis", delay_seconds=4)
    installation.compose("restart", "redis")
    until(lambda: all_completed(caller, ids), "all completed")
    assert arrivals(echo, ids) == Counter(ids)


def test_without_redis_jobs_are_accepted_and_delivered_later(
    installation: Installation, caller: Caller, echo: Echo
) -> None:
    installation.compose("stop", "redis")
    until(lambda: installation.health() == (200, "degraded"), "it says so", 30)
    ids = post(caller, echo, 5, "/without-redis")
    installation.compose("start", "redis")
    until(lambda: all_completed(caller, ids), "all completed")


def test_without_postgresql_nothing_is_promised_and_afterwards_all_is_there(
    installation: Installation, caller: Caller, echo: Echo
) -> None:
    ids = post(caller, echo, 20, "/postgres", delay_seconds=5)
    installation.compose("stop", "postgres")
    until(lambda: installation.health()[0] == 503, "it says so", 30)
    refused = caller.post("/jobs", {"target": echo.at("/refused")})
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    installation.compose("start", "postgres")
    until(lambda: all_completed(caller, ids), "all completed")
    assert set(arrivals(echo, ids)) == set(ids)


def test_two_workers_deliver_each_job_once(installation: Installation, caller: Caller, echo: Echo) -> None:
    installation.compose("up", "--detach", "--wait", "--no-recreate", "--scale", "workers=2")
    assert len(installation.containers("workers")) == 2
    ids = post(caller, echo, 200, "/two", delay_seconds=1)
    until(lambda: all_completed(caller, ids), "all completed")
    assert arrivals(echo, ids) == Counter(ids)
    for container in installation.containers("workers"):
        started = [json.loads(line).get("function") for line in docker("logs", container).splitlines()]
        assert {"executor", "populator", "recurrence", "watcher"} <= set(started)


def test_what_is_stored_outlives_the_containers(installation: Installation, caller: Caller, echo: Echo) -> None:
    (job,) = post(caller, echo, 1, "/later", delay_seconds=86_400)
    installation.compose("down", "--timeout", "20")
    installation.compose("up", "--detach", "--wait")
    assert caller.job(job)["status"] == "pending"


def test_a_backup_is_all_that_a_new_installation_needs(installation: Installation, caller: Caller, echo: Echo) -> None:
    """As docs/self-hosting.md says it."""
    (job,) = post(caller, echo, 1, "/backed-up", delay_seconds=86_400)
    dump = installation.compose_piped(b"", "exec", "-T", "postgres", "pg_dump", "-U", "scheduler", "-Fc", "scheduler")
    installation.compose("down", "--volumes", "--timeout", "20")
    installation.compose("up", "--detach", "--wait")
    installation.compose("stop", "gateway", "workers")
    installation.compose("exec", "-T", "postgres", "dropdb", "-U", "scheduler", "--force", "scheduler")
    installation.compose("exec", "-T", "postgres", "createdb", "-U", "scheduler", "scheduler")
    restore = ("pg_restore", "-U", "scheduler", "-d", "scheduler", "--exit-on-error")
    installation.compose_piped(dump, "exec", "-T", "postgres", *restore)
    installation.compose("restart", "redis")
    installation.compose("up", "--detach", "--wait")
    assert caller.job(job)["status"] == "pending"
    assert caller.post(f"/jobs/{job}/run").status_code == 202
    until(lambda: all_completed(caller, [job]), "delivered")
