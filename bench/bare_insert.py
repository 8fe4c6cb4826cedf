"""What taking a job in costs at least: one row, committed, and one Redis script call; nothing is judged or answered."""

import json
import os
from types import TracebackType
from typing import Final, Self

import psycopg
import redis

from bench import stock
from scheduler_core.clock import monotonic, utc_now
from scheduler_core.domain.ids import ENTROPY_BYTES, uuid7

_INSERT: Final = """
INSERT INTO jobs (id, merchant_id, schedule_type, status, priority, max_retries, timeout_seconds, retry_initial_seconds,
    retry_max_seconds, retry_multiplier, scheduled_at, next_run_at, created_at, updated_at, target, payload, metadata)
VALUES (%s, %s, 'one_time', 'pending', 0, 3, 30, 1, 3600, 2, %s, %s, %s, %s, %s, %s, '{}')
"""


class BareInsert:
    """A context manager; a call stores one job and answers how many seconds that took."""

    def __init__(self, database_url: str, redis_url: str, receiver: str) -> None:
        self._merchant = stock.make_merchants(database_url, 1)[0]
        self._target = json.dumps({"type": "http", "url": receiver, "method": "POST", "headers": {}})
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._redis = redis.Redis.from_url(redis_url)
        self._script = self._redis.register_script("return redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])")
        self._calls = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redis.delete("{limit}")
        self._redis.close()
        self._connection.close()

    def __call__(self) -> float:
        began = monotonic()
        now = utc_now()
        job_id = uuid7(now, os.urandom(ENTROPY_BYTES))
        values = (job_id, self._merchant, now, now, now, now, self._target, stock.PAYLOAD)
        self._connection.execute(_INSERT, values)
        self._calls += 1
        self._script(keys=["{limit}"], args=[self._calls, job_id.hex])
        return monotonic() - began
