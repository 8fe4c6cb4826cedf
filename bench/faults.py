"""The crashes of the survival benchmark: what is broken, how, and when in the run."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.stack import StackProcess
from dev.postgres import PostgresServer
from dev.redis import RedisServer
from scheduler_core.clock import monotonic

_EXECUTOR_SECONDS: Final = 90.0
"""How long to wait for an executor to kill: the next tick of the schedules brings one."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """Breaks something once `at_share` of the jobs have been delivered."""

    at_share: float
    what: str
    strike: Callable[[], None]


def plan(stack: StackProcess, postgres: PostgresServer, redis: RedisServer) -> Sequence[PlannedFault]:
    """Three kills of the executor, two flushes and a restart of Redis, a restart of PostgreSQL, spread over the run."""

    def kill_executor() -> None:
        kill_executors(stack)

    def flush_redis() -> None:
        flush(redis.url)

    return (
        PlannedFault(0.08, "executor killed", kill_executor),
        PlannedFault(0.20, "Redis flushed", flush_redis),
        PlannedFault(0.32, "executor killed", kill_executor),
        PlannedFault(0.44, "Redis restarted", redis.restart),
        PlannedFault(0.56, "PostgreSQL restarted", postgres.restart),
        PlannedFault(0.68, "Redis flushed", flush_redis),
        PlannedFault(0.80, "executor killed", kill_executor),
    )


def kill_executors(stack: StackProcess) -> None:
    """SIGKILL every process that runs the executor; waits for one where there is none."""
    deadline = monotonic() + _EXECUTOR_SECONDS
    # A process that was gone already, and not yet reported so, is no crash: go on until one has really been killed.
    while not sum([_kill(pid) for pid in stack.processes_of("executor")]):
        if monotonic() > deadline:
            raise TimeoutError("no executor has started")
        time.sleep(0.02)


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def flush(redis_url: str) -> None:
    """FLUSHALL."""
    import redis

    with redis.Redis.from_url(redis_url) as connection:
        connection.flushall()
