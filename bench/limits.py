"""What the machine allows: the bare operations that any such scheduler is made of, in one Python process each.

`python -m bench.limits NAME OPTIONS` runs one and prints its figures; OPTIONS is JSON: `database_url`, `redis_url`,
`receiver`, `jobs`. The tables are our own, with their indexes, and hold `jobs` rows that wait when a limit needs them.
"""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
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
_AHEAD: Final = 4
_CLAIM: Final = """
UPDATE jobs SET status = 'running', attempt = jobs.attempt + 1, due_at = jobs.next_run_at, next_run_at = NULL,
    lease_id = 1, last_run_at = now(), updated_at = now()
FROM unnest(%s::uuid[], %s::uuid[]) AS hint (merchant_id, id)
WHERE jobs.merchant_id = hint.merchant_id AND jobs.id = hint.id AND jobs.id BETWEEN %s AND %s
  AND jobs.status = 'pending'
RETURNING jobs.merchant_id, jobs.id, jobs.target, jobs.payload
"""
_RECORD: Final = """
UPDATE jobs SET status = 'completed', next_run_at = NULL, lease_id = NULL, completed_at = now(), updated_at = now()
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
    return {"per_second": _posted(options, rows, rows)}


def claimed_posts(options: Mapping[str, Any]) -> dict[str, float]:
    """The same, while a third thread claims each batch before it is posted: two row versions per job."""
    rows = _waiting(options)
    return {"per_second": _posted(options, rows, _claimed(options, rows))}


def _claimed(options: Mapping[str, Any], rows: Sequence[Row]) -> Iterator[Row]:
    """The rows as they are claimed, a few batches ahead of whoever takes them."""
    ahead: deque[Future[Sequence[tuple[Any, ...]]]] = deque()
    with psycopg.connect(options["database_url"], autocommit=True) as connection, ThreadPoolExecutor(1) as claimer:
        for batch in _batches(rows):
            ahead.append(claimer.submit(_write, connection, _CLAIM, batch))
            if len(ahead) > _AHEAD:
                yield from ((row[0], row[1]) for row in ahead.popleft().result())
        for claimed in ahead:
            yield from ((row[0], row[1]) for row in claimed.result())


def _posted(options: Mapping[str, Any], rows: Sequence[Row], coming: Iterable[Row]) -> float:
    """Jobs per second, from the first that comes to the last whose end is written."""
    of_job = {str(row[1]): row for row in rows}
    transfers = Transfers(options["receiver"], stock.PAYLOAD, _AT_ONCE)
    sys.setswitchinterval(0.0005)
    with psycopg.connect(options["database_url"], autocommit=True) as connection, ThreadPoolExecutor(1) as writer:
        written: list[Future[Sequence[tuple[Any, ...]]]] = []
        gathered: list[Row] = []

        def note(job_id: str) -> None:
            gathered.append(of_job[job_id])
            if len(gathered) == _BATCH:
                written.append(writer.submit(_write, connection, _RECORD, gathered.copy()))
                gathered.clear()

        began = monotonic()
        transfers.run((str(row[1]) for row in coming), note)
        written.append(writer.submit(_write, connection, _RECORD, gathered))
        for each in written:
            each.result()
        return len(rows) / (monotonic() - began)


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
        for batch in _batches(rows):
            _write(connection, _RECORD, batch)
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
    "claimed_posts": claimed_posts,
    "copy": copy,
    "update": update,
    "redis_script": redis_script,
    "insert": insert,
}
NEEDS_JOBS: Final = frozenset({"recorded_posts", "claimed_posts", "update"})


def _waiting(options: Mapping[str, Any]) -> list[Row]:
    with psycopg.connect(options["database_url"]) as connection:
        return connection.execute("SELECT merchant_id, id FROM jobs ORDER BY id").fetchall()


def _batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    return (list(rows[start : start + _BATCH]) for start in range(0, len(rows), _BATCH))


def _write(connection: psycopg.Connection, statement: str, batch: list[Row]) -> Sequence[tuple[Any, ...]]:
    """Run a statement for a batch; the rows it returns."""
    if not batch:
        return []
    batch.sort(key=lambda row: row[1])
    columns = [row[0] for row in batch], [row[1] for row in batch]
    written = connection.execute(statement.encode(), (*columns, batch[0][1], batch[-1][1]))
    return written.fetchall() if written.description else []


if __name__ == "__main__":
    pycurl.global_init(pycurl.GLOBAL_DEFAULT)
    sys.stdout.write(json.dumps(LIMITS[sys.argv[1]](json.loads(sys.argv[2]))) + "\n")
