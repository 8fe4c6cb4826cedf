"""A tick of the populator: fill the ready set, ask for executors, stop asking."""

from collections.abc import Iterator
from typing import Any

import pytest

from populator import handler, populator
from scheduler_core.clock import utc_now
from scheduler_core.domain.jobs import DuePage
from scheduler_core.invocation.lambda_invoker import LambdaInvoker
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services import refilling
from scheduler_core.settings import QueueSettings
from scheduler_core.storage import claims
from tests.builders import seconds, store_jobs, store_merchant
from tests.contexts import a_context
from tests.receivers import Receiver, receiving


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
        "JOBS_PER_EXECUTOR": "100",
        "MAX_EXECUTORS": "4",
    }.items():
        monkeypatch.setenv(name, value)
    handler._populator.cache_clear()
    yield
    handler._populator()._refiller._database.close()
    handler._populator.cache_clear()


def tick() -> dict[str, Any]:
    return handler.lambda_handler({}, a_context())


def test_what_is_due_soon_is_announced_and_an_executor_asked_for(database_url: str, lambda_api: Receiver) -> None:
    store_jobs(database_url, store_merchant(database_url), 3, next_run_at=utc_now() + seconds(30))
    assert tick()["announced"] == 3
    assert lambda_api.invoked() == ["executor"]


def test_a_backlog_asks_for_executors_up_to_the_cap_and_then_stops(
    database_url: str, redis_url: str, lambda_api: Receiver
) -> None:
    store_jobs(database_url, store_merchant(database_url), 1_000, next_run_at=utc_now())
    assert tick()["executors_invoked"] == 4
    assert lambda_api.invoked() == ["executor"] * 4
    queue = ReadySet.connect(QueueSettings(redis_url=redis_url))
    for name in "abcd":
        queue.pop(utc_now(), executor=name, token=name, most=0)
    assert tick()["executors_invoked"] == 0
    queue.close()


def test_executors_are_asked_for_while_the_set_is_filled(
    database_url: str, lambda_api: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog's second executor need not wait until the last of it was copied."""
    store_jobs(database_url, store_merchant(database_url), 250, next_run_at=utc_now())
    monkeypatch.setattr(refilling, "PAGE", 60)
    read, invoked = claims.due_page_across_merchants, []

    def reads(*args: Any, **options: Any) -> DuePage:
        invoked.append(len(lambda_api.invoked()))
        return read(*args, **options)

    monkeypatch.setattr(claims, "due_page_across_merchants", reads)
    assert tick()["executors_invoked"] == 3
    assert invoked == [0, 1, 2, 2, 3]  # 60, 120, 180 and 240 are there, 100 for each


def test_an_executor_that_is_refused_is_asked_for_once_while_the_set_is_filled(
    database_url: str, lambda_api: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_jobs(database_url, store_merchant(database_url), 250, next_run_at=utc_now())
    monkeypatch.setattr(refilling, "PAGE", 10)
    asked = 0

    def refused(*_: Any, **__: Any) -> bool:
        nonlocal asked
        asked += 1
        return False

    monkeypatch.setattr(LambdaInvoker, "invoke_async", refused)
    assert tick()["executors_invoked"] == 0
    assert asked == 2  # early, and at the end of the tick


def test_a_tick_waits_for_whoever_fills_the_set_and_then_fills_it(database_url: str, redis_url: str) -> None:
    """It heals whatever was lost, and what others do with the set does not."""
    store_jobs(database_url, store_merchant(database_url), 3, next_run_at=utc_now() + seconds(30))
    with ReadySet.connect(QueueSettings(redis_url=redis_url)) as queue:
        assert queue.take_duty("refill", "who was killed", seconds=1)
    report = tick()
    assert (report["announced"], report["complete"]) == (3, True)


def test_a_tick_that_cannot_fill_the_set_says_so(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(populator, "OTHERS_FILL_SECONDS", 0.2)
    with ReadySet.connect(QueueSettings(redis_url=redis_url)) as queue:
        assert queue.take_duty("refill", "who takes long", seconds=30)
    report = tick()
    assert (report["announced"], report["complete"]) == (0, False)


def test_an_idle_tick_asks_for_nobody(lambda_api: Receiver) -> None:
    assert tick() == {"announced": 0, "complete": True, "due": 0, "executors_awake": 0, "executors_invoked": 0}
    assert lambda_api.invoked() == []


def test_with_redis_away_a_tick_does_nothing_and_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    assert tick()["complete"] is False


def test_an_executor_that_cannot_be_invoked_is_left_to_the_next_tick(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1")
    store_jobs(database_url, store_merchant(database_url), next_run_at=utc_now())
    assert tick()["executors_invoked"] == 0
