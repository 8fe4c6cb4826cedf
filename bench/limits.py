"""What the machine allows: the bare operations that any such scheduler is made of, in one Python process each.

`python -m bench.limits NAME OPTIONS` runs one and prints its figures; OPTIONS is JSON: `database_url`, `redis_url`,
`receiver`, `jobs`. The tables are our own, with their indexes, and hold `jobs` rows that wait when a limit needs them.
"""

import json
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from queue import SimpleQueue
from typing import Any, Final
from uuid import UUID

import psycopg
import pycurl
import redis

from bench import stock
from bench.bare_http import Transfers
from bench.bare_insert import BareInsert
from scheduler_core.clock import monotonic, utc_now

_BATCH: Final = 500
_AT_ONCE: Final = 100
_RECORD: Final = """
UPDATE jobs SET status = 'completed', next_run_at = NULL, completed_at = now(), updated_at = now()
FROM unnest(%s::uuid[], %s::uuid[]) AS ended (merchant_id, id)
WHERE jobs.merchant_id = ended.merchant_id AND jobs.id = ended.id AND jobs.id BETWEEN %s AND %s
"""
Row = tuple[UUID, UUID]


def posts(options: Mapping[str, Any]) -> dict[str, float]:
    """libcurl's multi interface, 100 at a time, and nothing else."""
    jobs = options["jobs"]
    transfers = Transfers(options["receiver"], stock.PAYLOAD, _AT_ONCE)
    began = monotonic()
    transfers.run([f"limit-{number}" for number in range(jobs)], lambda _: None)
    return {"per_second": jobs / (monotonic() - began)}


def recorded_posts(options: Mapping[str, Any]) -> dict[str, float]:
    """The same loop, while a second thread writes each end into our table: one row version per job, 500 at a time."""
    rows = _waiting(options)
    of_job = {str(row[1]): row for row in rows}
    done: SimpleQueue[list[Row] | None] = SimpleQueue()

    def write() -> None:
        with psycopg.connect(options["database_url"], autocommit=True) as connection:
            while (batch := done.get()) is not None:
                _record(connection, batch)

    writer = threading.Thread(target=write)
    writer.start()
    gathered: list[Row] = []

    def note(job_id: str) -> None:
        gathered.append(of_job[job_id])
        if len(gathered) == _BATCH:
            done.put(gathered.copy())
            gathered.clear()

    transfers = Transfers(options["receiver"], stock.PAYLOAD, _AT_ONCE)
    sys.setswitchinterval(0.0005)
    began = monotonic()
    transfers.run(list(of_job), note)
    done.put(gathered)
    done.put(None)
    writer.join()
    return {"per_second": len(rows) / (monotonic() - began)}


def copy(options: Mapping[str, Any]) -> dict[str, float]:
    """COPY into our table, one transaction."""
    url, jobs = options["database_url"], options["jobs"]
    merchants = stock.make_merchants(url, 20)
    began = monotonic()
    stock.store(url, merchants, jobs, target_url=options["receiver"], first_due=utc_now() + timedelta(hours=1))
    return {"per_second": jobs / (monotonic() - began)}


def update(options: Mapping[str, Any]) -> dict[str, float]:
    """One UPDATE for each 500 rows of our table, each committed: what recording costs at least."""
    rows = _waiting(options)
    began = monotonic()
    with psycopg.connect(options["database_url"], autocommit=True) as connection:
        for start in range(0, len(rows), _BATCH):
            _record(connection, rows[start : start + _BATCH])
    return {"per_second": len(rows) / (monotonic() - began)}


def redis_script(options: Mapping[str, Any]) -> dict[str, float]:
    """Calls of a script that does one ZADD and one ZCARD, one after the other."""
    calls = min(options["jobs"], 20_000)
    with redis.Redis.from_url(options["redis_url"]) as client:
        script = client.register_script(
            "redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2]) return redis.call('ZCARD', KEYS[1])"
        )
        began = monotonic()
        for number in range(calls):
            script(keys=["{limit}"], args=[number, number % 1_000])
        took = monotonic() - began
        client.delete("{limit}")
    return {"per_second": calls / took}


def insert(options: Mapping[str, Any]) -> dict[str, float]:
    """One row into our table, committed, and one Redis script call, one after the other; what one POST /jobs needs."""
    jobs = min(options["jobs"], 2_000)
    with BareInsert(options["database_url"], options["redis_url"], options["receiver"]) as bare:
        times = sorted(bare() for _ in range(jobs))
    return {
        "p50_ms": times[len(times) // 2] * 1_000,
        "p99_ms": times[len(times) * 99 // 100] * 1_000,
        "per_second": jobs / sum(times),
    }


LIMITS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, float]]]] = {
    "posts": posts,
    "recorded_posts": recorded_posts,
    "copy": copy,
    "update": update,
    "redis_script": redis_script,
    "insert": insert,
}
NEEDS_JOBS: Final = frozenset({"recorded_posts", "update"})


def _waiting(options: Mapping[str, Any]) -> list[Row]:
    with psycopg.connect(options["database_url"]) as connection:
        return connection.execute("SELECT merchant_id, id FROM jobs ORDER BY id").fetchall()


def _record(connection: psycopg.Connection, batch: list[Row]) -> None:
    if batch:
        batch.sort(key=lambda row: row[1])
        columns = [row[0] for row in batch], [row[1] for row in batch]
        connection.execute(_RECORD.encode(), (*columns, batch[0][1], batch[-1][1]))


if __name__ == "__main__":
    pycurl.global_init(pycurl.GLOBAL_DEFAULT)
    sys.stdout.write(json.dumps(LIMITS[sys.argv[1]](json.loads(sys.argv[2]))) + "\n")
