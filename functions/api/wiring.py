"""The parts that handlers use, made once for each Lambda environment, at first use."""

from functools import cache
from typing import TYPE_CHECKING

from scheduler_core.security.target_guard import TargetGuard
from scheduler_core.settings import (
    DatabaseSettings,
    InvocationSettings,
    ObservabilitySettings,
    QueueSettings,
    RecurrenceSettings,
    TargetSettings,
)
from scheduler_core.storage.database import Database, Role

if TYPE_CHECKING:
    from scheduler_core.queueing.ready_set import ReadySet
    from scheduler_core.services.announcing import Announcer


class ApiSettings(
    DatabaseSettings, QueueSettings, InvocationSettings, TargetSettings, ObservabilitySettings, RecurrenceSettings
):
    """What the API needs to know."""


@cache
def settings() -> ApiSettings:
    return ApiSettings()


@cache
def database() -> Database:
    """PostgreSQL as the role that sees one merchant at a time."""
    return Database.connect(settings(), Role.API)


@cache
def probe() -> Database:
    """A connection of its own for the health check, which must not wait for what it looks at."""
    bounds = {"database_connect_timeout_seconds": 2, "database_statement_timeout_seconds": 1.5}
    return Database.connect(settings().model_copy(update=bounds), Role.API)


@cache
def ready_set() -> "ReadySet":
    # The Redis client takes a third of a second to import: requests that only read do without it.
    from scheduler_core.queueing.ready_set import ReadySet

    return ReadySet.connect(settings())


@cache
def ready_set_probe() -> "ReadySet":
    """As `probe`: two threads must not read from one connection."""
    from scheduler_core.queueing.ready_set import ReadySet

    return ReadySet.connect(settings().model_copy(update={"redis_timeout_seconds": 0.5}))


@cache
def announcer() -> "Announcer":
    from scheduler_core.invocation.lambda_invoker import LambdaInvoker
    from scheduler_core.services.announcing import Announcer

    return Announcer(
        ready_set(),
        LambdaInvoker(settings()),
        executor_function=settings().executor_function,
        horizon_seconds=settings().horizon_seconds,
    )


@cache
def target_guard() -> TargetGuard:
    return TargetGuard(settings().allowed_target_networks)


def reset() -> None:
    """Forget every part, so that changed settings take effect; connections are given up."""
    for connected in (database, probe, ready_set, ready_set_probe):
        if connected.cache_info().currsize:
            connected().close()
    for part in (settings, database, probe, ready_set, ready_set_probe, announcer, target_guard):
        part.cache_clear()
