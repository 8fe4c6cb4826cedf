"""What an installation costs while nothing is due: statements, commands and processor time, for each minute."""

import time
from collections.abc import Callable, Mapping
from typing import Final

import psycopg
from psycopg import sql

from bench import resources, stock
from bench.deployment import Deployment
from bench.site import Site

FUNCTIONS: Final = ("populator", "executor", "watcher", "recurrence", "api", "authorizer")
_DATABASE: Final = "scheduler"


def measure(site: Site, seconds: int, progress: Callable[[float], None] = lambda _: None) -> Mapping[str, float]:
    """The schedules run as in AWS; nothing is stored. The first minute is for starting, and is not counted."""
    stock.clear(site.postgres.url)
    site.flush_redis()
    _log_statements(site, "all")  # sessions made from here on
    try:
        with Deployment(site.stores, ticking=True) as deployment:
            _sleep(min(60, seconds), lambda passed: progress(passed / (2 * seconds)))
            before = _Meter.read(site, deployment)
            _sleep(seconds, lambda passed: progress(0.5 + passed / (2 * seconds)))
            return _Meter.read(site, deployment).per_minute_since(before, seconds)
    finally:
        _log_statements(site, "none")


class _Meter:
    """All counters at one moment."""

    def __init__(self, counted: dict[str, float]) -> None:
        self._counted = counted

    @classmethod
    def read(cls, site: Site, deployment: Deployment) -> "_Meter":
        log = (site.folder / "servers" / "postgres.log").read_text(encoding="utf-8", errors="replace")
        functions = [pid for name in FUNCTIONS for pid in deployment.pids(name)]
        return cls(
            {
                "statements": float(log.count(" statement: ") + log.count(" execute ")),
                "transactions": float(resources.database_counters(site.postgres.url).transactions),
                "redis_commands": float(resources.redis_commands(site.redis.url)),
                "functions_cpu_ms": 1_000 * sum(resources.cpu_seconds(pid) for pid in functions),
                "postgres_cpu_ms": 1_000 * _cpu_of_family(site.postgres.pid),
                "redis_cpu_ms": 1_000 * _cpu_of_family(site.redis.pid),
            }
        )

    def per_minute_since(self, before: "_Meter", seconds: float) -> Mapping[str, float]:
        return {
            f"{name}_per_minute": (value - before._counted[name]) * 60 / seconds  # noqa: SLF001 - of the same class
            for name, value in self._counted.items()
        }


def _cpu_of_family(pid: int | None) -> float:
    return sum(resources.cpu_seconds(each) for each in resources.family(pid)) if pid else 0.0


def _log_statements(site: Site, which: str) -> None:
    statement = sql.SQL("ALTER DATABASE {} SET log_statement = {}")
    with psycopg.connect(site.postgres.url, autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(_DATABASE), sql.Literal(which)))


def _sleep(seconds: float, progress: Callable[[float], None]) -> None:
    for passed in range(int(seconds)):
        time.sleep(1)
        progress(passed)
