"""A backlog of 100,000 due jobs: executors up to the cap, in processes of their own, and none once it is gone."""

import asyncio
import os
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from hosting.invoker import Invoker
from scheduler_core.clock import monotonic, utc_now
from scheduler_core.domain.ids import uuid7
from tests.builders import http_target, rows, store_merchant
from tests.integration.scaling.parts import functions

JOBS = 100_000
CAP = 3
JOBS_PER_EXECUTOR = 5_000

_INSERT = """
INSERT INTO jobs (id, merchant_id, schedule_type, status, priority, max_retries, timeout_seconds, retry_initial_seconds,
    retry_max_seconds, retry_multiplier, scheduled_at, next_run_at, created_at, updated_at, target, metadata)
SELECT id, %s, 'one_time', 'pending', 0, 3, 30, 1, 3600, 2, %s, %s, %s, %s, %s, '{}' FROM unnest(%s::uuid[]) AS id
"""


@pytest.fixture
def backlog(database_url: str) -> str:
    """The URL of a database with due jobs whose address the courier refuses: claimed, judged and recorded as all others
    are, they end without a request, so that no receiver is what the test waits for."""
    now = utc_now()
    due, ids = now - timedelta(seconds=2), [uuid7(now, os.urandom(10)) for _ in range(JOBS)]
    target = http_target("http://10.0.0.1/")
    with psycopg.connect(database_url) as connection:
        connection.execute(_INSERT, (store_merchant(database_url), due, due, now, now, target, ids))
    return database_url


def _left(database_url: str) -> int:
    [row] = rows(database_url, "SELECT count(*) AS n FROM jobs WHERE status IN ('pending', 'retrying', 'running')")
    return int(row["n"])


@pytest.mark.timeout(300)
def test_a_backlog_scales_executors_out_to_the_cap_and_in_again(backlog: str, redis_url: str) -> None:
    settings = {
        "DATABASE_URL": backlog,
        "REDIS_URL": redis_url,
        "MAX_EXECUTORS": str(CAP),
        "JOBS_PER_EXECUTOR": str(JOBS_PER_EXECUTOR),
        "IDLE_SECONDS": "0.5",
        "READY_SET_MAX": "50000",
    }

    async def scenario() -> None:
        async with functions(settings, {"executor": CAP}) as (invoker, heard):
            ticks = [await _tick(invoker)]
            assert ticks[0] | {"announced": 0, "due": 0} == {
                "announced": 0, "complete": False, "due": 0, "executors_awake": 0, "executors_invoked": CAP,
            }  # fmt: skip
            assert 30_000 < ticks[0]["due"] <= 43_750, "the first executor is at work while the rest is being read"
            deadline = monotonic() + 240
            while await asyncio.to_thread(_left, backlog):
                assert monotonic() < deadline, ticks
                await asyncio.sleep(1.0)
                ticks.append(await _tick(invoker))
            assert max(tick["executors_awake"] for tick in ticks) == CAP
            assert all(tick["executors_invoked"] <= CAP - tick["executors_awake"] for tick in ticks)
            started = [event for event in heard.named("process.started") if event["function"] == "executor"]
            assert len(started) == CAP

            late = await invoker.invoke("executor", {"reason": "backlog"})
            assert (late.answer["reason"], late.answer["popped"]) in {("idle", 0), ("not needed", 0)}
            tick = await _until_all_have_left(invoker)
            assert (tick["due"], tick["complete"], tick["executors_invoked"]) == (0, True, 0)
            began = monotonic()
            answers = [await invoker.invoke("executor", {"reason": "backlog"}) for _ in range(20)]
            assert {answer.answer["reason"] for answer in answers} == {"idle"}
            assert (monotonic() - began) / len(answers) < 0.5

    asyncio.run(scenario())
    [attempts] = rows(backlog, "SELECT count(*) AS n, count(DISTINCT job_id) AS jobs FROM executions")
    assert (attempts["n"], attempts["jobs"]) == (JOBS, JOBS)
    executors = rows(backlog, "SELECT executor_id, sum(failed) AS n FROM throughput GROUP BY executor_id")
    assert sum(row["n"] for row in executors) == JOBS


async def _until_all_have_left(invoker: Invoker) -> dict[str, Any]:
    for _ in range(150):
        tick = await _tick(invoker)
        if not tick["executors_awake"]:
            return tick
        await asyncio.sleep(0.2)
    raise AssertionError(tick)


async def _tick(invoker: Invoker) -> dict[str, Any]:
    result = await invoker.invoke("populator", {})
    assert result.error is None
    answer: dict[str, Any] = result.answer
    return answer
