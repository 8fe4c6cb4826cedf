"""Schedules without EventBridge: `scheduler tick`, and an executor that is kept awake."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dev import processes
from dev.ticks import Stores, Ticks
from hosting.template import read_template
from scheduler_core.clock import utc_now
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.settings import QueueSettings
from tests.builders import hints, http_target, job_row, new_id, store_jobs, store_merchant
from tests.integration.hosting.parts import Heard, until
from tests.receivers import receiving

TEMPLATE = Path(__file__).parents[3] / "template.yaml"
KEY = "k" * 32


def settings_of(database_url: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "SIGNING_KEY": KEY}


def tick(*options: str, environment: dict[str, str]) -> "subprocess.Popen[str]":
    own = {name: value for name, value in os.environ.items() if name not in settings_of("", "")}
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", "tick", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=own | environment,
        start_new_session=True,
    )


def test_one_round_delivers_what_is_due_and_tells_what_each_function_did(database_url: str, redis_url: str) -> None:
    with receiving() as receiver:
        merchant_id = store_merchant(database_url)
        target = http_target(f"{receiver.url}/ok")
        (job_id,) = store_jobs(database_url, merchant_id, now=utc_now(), target=target)
        process = tick("--once", environment=settings_of(database_url, redis_url))
        told, logged = process.communicate(timeout=60)
        assert process.returncode == 0, logged
        assert [each.webhook_id for each in receiver.deliveries()] == [str(job_id)]
    answers = json.loads(told)
    assert list(answers) == ["recurrence", "populator", "executor", "watcher"]
    assert answers["populator"]["announced"] == 1
    assert job_row(database_url, job_id)["status"] == "completed"


def test_it_fires_until_sigterm_and_leaves_no_process(database_url: str, redis_url: str) -> None:
    process = tick(environment=settings_of(database_url, redis_url))
    assert process.stdout is not None
    pids: set[int] = set()
    for line in process.stdout:
        told = json.loads(line)
        if told.get("event") == "process.started":
            pids.add(told["pid"])
        if len(pids) == 4:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert [pid for pid in pids if processes.lives(pid)] == []


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--once",), 2, "Set DATABASE_URL, REDIS_URL, SIGNING_KEY."),
        (("--keep-executor", "--once"), 2, "--keep-executor goes with neither"),
        (("--once", "--through", "http://127.0.0.1:9"), 1, "recurrence, populator, executor, watcher"),
    ],
)
def test_what_it_cannot_do_it_says(options: tuple[str, ...], code: int, said: str) -> None:
    process = tick(*options, environment={})
    _, told = process.communicate(timeout=60)
    assert (process.returncode, said in told) == (code, True), told


def test_an_executor_is_awake_before_anything_is_asked_and_again_after_a_crash(
    database_url: str, redis_url: str
) -> None:
    """So whoever announces a job never has to invoke one."""
    queue = ReadySet.connect(QueueSettings(redis_url=redis_url))
    heard = Heard()
    stores = Stores(database_url=database_url, redis_url=redis_url, signing_key=KEY)

    def nobody_must_be_invoked() -> bool:
        return not queue.announce(utc_now(), hints(new_id(), [new_id()], due_at=utc_now()))

    async def scenario() -> None:
        ticks = Ticks(read_template(TEMPLATE), stores, heard, keep_executor=True)
        try:
            await ticks.start()
            assert nobody_must_be_invoked()
            (started,) = heard.named("process.started")
            os.kill(started["pid"], signal.SIGKILL)
            await until(lambda: len(heard.named("process.started")) == 2, seconds=15)
            await until(lambda: queue.depth(utc_now()).executors > 0, seconds=15)
            assert nobody_must_be_invoked()
        finally:
            await ticks.stop()

    _run(scenario)
    assert [each["pid"] for each in heard.named("process.started") if processes.lives(each["pid"])] == []
    queue.close()


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())
