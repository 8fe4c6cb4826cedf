"""From an installation at rest to a delivery: a job for now is begun within a second, one for later at its time.

With the schedules of the template, in real time: the last test waits for a tick to bring an executor back.
"""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.stack import StackProcess, own_stack
from dev import processes
from scheduler_core.clock import monotonic, utc_now
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.settings import QueueSettings

START_SECONDS = 1.0
LATE_SECONDS = 0.1
BUSY = 3.0
"""The machine that runs the tests has other things to do: the figures hold on an idle one."""


@pytest.fixture(scope="module")
def stack() -> Iterator[StackProcess]:
    with tempfile.TemporaryDirectory(prefix="task-scheduler-e2e-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with own_stack(Path(folder), {"HORIZON_SECONDS": "61"}) as running:
            yield running


@pytest.fixture
def resting(stack: StackProcess) -> Iterator[StackProcess]:
    """The stack with nobody awake, although an executor's process is loaded: the first tick was its cold start."""
    with ReadySet.connect(QueueSettings(redis_url=stack.facts["redis_url"])) as queue:
        assert processes.wait_until(lambda: bool(stack.processes_of("executor")), 30)
        assert processes.wait_until(lambda: rests(queue), 30)
        yield stack


def rests(queue: ReadySet) -> bool:
    """Whether nobody is awake for a whole second: a process that is loaded may not have asked yet."""
    until = monotonic() + 1
    while monotonic() < until:
        if queue.depth(utc_now()).executors:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def api(stack: StackProcess) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=stack.address.url, headers={"x-api-key": stack.facts["api_key"]}, timeout=20, trust_env=False
    ) as client:
        client.get("/jobs")  # the API's own cold start is not what is measured
        yield client


def post(stack: StackProcess, api: httpx.Client, **when: Any) -> dict[str, Any]:
    target = {"type": "http", "url": stack.facts["echo_url"]}
    answer = api.post("/jobs", json={"target": target, **when})
    assert answer.status_code == 201
    job: dict[str, Any] = answer.json()
    return job


def late(api: httpx.Client, job: dict[str, Any], seconds: float = 20) -> float:
    """Seconds from the job's due time to the beginning of its delivery."""

    def executions() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.get(f"/jobs/{job['id']}/executions").json()["items"]
        return found

    assert processes.wait_until(lambda: bool(executions()), seconds), "it was not delivered"
    [only] = executions()
    began, due = (datetime.fromisoformat(moment) for moment in (only["started_at"], job["next_run_at"]))
    return (began - due).total_seconds()


def test_a_job_for_now_wakes_an_executor(resting: StackProcess, api: httpx.Client) -> None:
    assert 0 <= late(api, post(resting, api)) < START_SECONDS * BUSY


def test_a_job_for_soon_is_delivered_at_its_time(resting: StackProcess, api: httpx.Client) -> None:
    jobs = [post(resting, api, delay_seconds=delay) for delay in (5, 6, 7)]
    lateness = sorted(late(api, job) for job in jobs)
    assert lateness[0] >= 0
    assert lateness[1] < LATE_SECONDS


def test_an_executor_that_is_killed_while_it_waits_is_replaced_before_the_jobs_are_due(
    resting: StackProcess, api: httpx.Client
) -> None:
    jobs = [post(resting, api, delay_seconds=delay) for delay in (10, 11, 12)]
    with ReadySet.connect(QueueSettings(redis_url=resting.facts["redis_url"])) as queue:
        assert processes.wait_until(lambda: queue.depth(utc_now()).executors == 1, 5)
        killed = resting.processes_of("executor")
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert processes.wait_until(lambda: queue.depth(utc_now()).executors == 0, 2)
    lateness = sorted(late(api, job, 30) for job in jobs)
    assert lateness[0] >= 0
    assert lateness[1] < LATE_SECONDS
    assert not set(killed) & set(resting.processes_of("executor"))


@pytest.mark.timeout(200)
def test_a_job_beyond_the_horizon_is_delivered_at_its_time_by_an_executor_that_a_tick_brings(
    resting: StackProcess, api: httpx.Client
) -> None:
    first = utc_now() + timedelta(seconds=76)
    jobs = [post(resting, api, scheduled_at=(first + timedelta(seconds=gap)).isoformat()) for gap in (0, 1, 2)]
    with ReadySet.connect(QueueSettings(redis_url=resting.facts["redis_url"])) as queue:
        assert queue.depth(utc_now()).size == 0
        assert queue.depth(utc_now()).executors == 0
    lateness = sorted(late(api, job, 100) for job in jobs)
    assert lateness[0] >= 0
    assert lateness[1] < LATE_SECONDS
