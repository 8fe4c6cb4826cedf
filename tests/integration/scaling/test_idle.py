"""What an idle installation's minute costs: four short invocations, with a handful of questions to the stores."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from redis.connection import AbstractConnection

from executor import handler as executor
from populator import handler as populator
from recurrence import handler as recurrence
from scheduler_core.clock import monotonic, utc_now
from tests.builders import seconds, store_jobs, store_merchant
from tests.contexts import a_context
from tests.executors import forget_what_is_kept
from tests.receivers import Receiver, receiving
from watcher import handler as watcher

IDLE_SECONDS = 0.5
HANDLERS: dict[str, Callable[..., dict[str, Any]]] = {
    "executor": executor.lambda_handler,
    "populator": populator.lambda_handler,
    "recurrence": recurrence.lambda_handler,
    "watcher": watcher.lambda_handler,
}
MOST_STATEMENTS = {"executor": 0, "populator": 1, "recurrence": 1, "watcher": 11}
MOST_ROUND_TRIPS = {"executor": 1, "populator": 5, "recurrence": 0, "watcher": 1}
"""To PostgreSQL and to Redis. A transaction adds its BEGIN and COMMIT."""


@dataclass(slots=True)
class Asked:
    """What was asked of the stores."""

    statements: list[str] = field(default_factory=list)
    round_trips: list[Sequence[Any]] = field(default_factory=list)


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
        "SIGNING_KEY": "k" * 32,
        "AWS_ENDPOINT_URL_LAMBDA": lambda_api.url,
    }.items():
        monkeypatch.setenv(name, value)
    forget_what_is_kept()
    caches = (populator._populator, recurrence._recurrence, watcher._settings, watcher._watcher)
    for cache in caches:
        cache.cache_clear()
    for handle in HANDLERS.values():  # the first run of an environment connects, and the first ever makes partitions
        handle({}, a_context())
    yield
    populator._populator()._refiller._database.close()
    recurrence._recurrence()._database.close()
    watcher._watcher()._database.close()
    forget_what_is_kept()
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()
    execute, send = psycopg.Cursor.execute, AbstractConnection.send_packed_command

    def executing(self: Any, query: Any, *args: Any, **more: Any) -> Any:
        found.statements.append(str(query))
        return execute(self, query, *args, **more)

    def sending(self: AbstractConnection, command: Any, check_health: bool = True) -> None:
        found.round_trips.append(command)
        send(self, command, check_health)  # type: ignore[no-untyped-call] # redis-py

    monkeypatch.setattr(psycopg.Cursor, "execute", executing)
    monkeypatch.setattr(AbstractConnection, "send_packed_command", sending)
    return found


@pytest.mark.parametrize("function", HANDLERS)
def test_an_idle_tick_takes_well_under_a_second_and_asks_little(
    function: str, asked: Asked, lambda_api: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the first five minutes of an hour the watcher also looks at the hour before, with one statement more.
    monkeypatch.setattr("watcher.alerts._LATEST", timedelta())
    took = []
    for _ in range(3):
        asked.statements.clear()
        asked.round_trips.clear()
        began = monotonic()
        HANDLERS[function]({}, a_context())
        took.append(monotonic() - began)
    assert min(took) < IDLE_SECONDS
    assert len(asked.statements) <= MOST_STATEMENTS[function], asked.statements
    assert len(asked.round_trips) <= MOST_ROUND_TRIPS[function], asked.round_trips
    assert lambda_api.invoked() == []


@pytest.mark.parametrize("due_in", [75, 100, 3_600])
def test_jobs_for_later_keep_nobody_awake(database_url: str, lambda_api: Receiver, due_in: float) -> None:
    store_jobs(database_url, store_merchant(database_url), 50, next_run_at=utc_now() + seconds(due_in))
    for function, handle in HANDLERS.items():
        began = monotonic()
        handle({}, a_context())
        assert monotonic() - began < 2, function
    assert executor.lambda_handler({}, a_context())["reason"] == "idle"
    assert lambda_api.invoked() == []


def test_a_job_due_before_the_next_tick_has_an_executor_invoked_by_the_populator(
    database_url: str, lambda_api: Receiver
) -> None:
    store_jobs(database_url, store_merchant(database_url), next_run_at=utc_now() + seconds(50))
    assert executor.lambda_handler({}, a_context())["reason"] == "idle"  # its tick came first
    populator.lambda_handler({}, a_context())
    assert lambda_api.invoked() == ["executor"]
