"""Does it get slower with what is stored? The due scan, a claim and a drain beside more and more jobs that wait."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from statistics import median
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import Connection

from bench import stock
from bench.ours import Ours
from bench.site import Site
from scheduler_core.clock import monotonic, utc_now
from scheduler_core.domain.jobs import Place
from scheduler_core.storage import claims
from scheduler_core.storage.queries import Queries

DUE: Final = 10_000
_CLAIM: Final = 500
_REPEATS: Final = 9
_AHEAD: Final = timedelta(hours=2)
_APART: Final = timedelta(milliseconds=500)
_BEGINNING: Final = Place(utc_now() - timedelta(days=3_650), UUID(int=0))


class Scale:
    """Grows the same tables step by step; what is drained in between stays as history."""

    def __init__(self, site: Site, *, due: int = DUE) -> None:
        self._site = site
        self._due = due
        self._url = site.postgres.url
        self._ours = Ours(site, keeps_jobs=True)
        self._pending = 0
        stock.clear(self._url)

    def measure(self, pending: int, drained: int) -> Mapping[str, float]:
        """Figures beside `pending` jobs that are due hours and weeks from now, and a drain of `drained` others."""
        began = monotonic()
        self._store(pending - self._pending, utc_now() + _AHEAD, _APART)
        stored_per_second = (pending - self._pending) / (monotonic() - began)
        self._pending = pending
        self._store(self._due, utc_now())
        stock.settle(self._url)
        figures = {"stored_per_second": stored_per_second, **_sizes(self._url), **_scans(self._url, self._due)}
        return figures | {f"drain_{name}": value for name, value in self._ours.drain(drained, 1).items()}

    def _store(self, jobs: int, first_due: datetime, apart: timedelta = timedelta()) -> None:
        merchants, receiver = self._ours.merchants, self._site.receiver.url
        stock.store(self._url, merchants, jobs, target_url=receiver, first_due=first_due, apart=apart)


def _scans(url: str, due: int) -> dict[str, float]:
    """Both statements as the functions send them, warm, and as EXPLAIN sees them; everything is rolled back."""
    with psycopg.connect(url) as connection:
        connection.execute("SET ROLE scheduler_worker")
        until = utc_now() + timedelta(seconds=90)
        page = claims.due_page_across_merchants(connection, after=_BEGINNING, until=until, most=due)
        hints = [(group.merchant_id.hex, job) for group in page.groups for job in group.job_ids]
        parts = [hints[start : start + _CLAIM] for start in range(0, min(due, _REPEATS * _CLAIM), _CLAIM)]

        def scan() -> object:
            return claims.due_page_across_merchants(connection, after=_BEGINNING, until=until, most=due)

        scans = [_timed(scan) for _ in range(_REPEATS)]
        claimed = [_timed(partial(_claim, connection, part)) for part in parts]
        explained = _explain_scan(connection, until, due)
        connection.rollback()
    return {
        "due_scan_ms": median(scans),
        "claim_ms": median(claimed),
        "due_scan_buffers": explained["Shared Hit Blocks"] + explained["Shared Read Blocks"],
        "due_scan_in_server_ms": explained["Actual Total Time"],
    }


def _claim(connection: Connection[Any], hints: Sequence[tuple[str, str]]) -> object:
    now = utc_now()
    return claims.claim(
        connection,
        hints,
        lease_id=secrets.randbits(claims.LEASE_ID_BITS),
        now=now,
        due_before=now,
        lease=timedelta(seconds=25),
    )


def _explain_scan(connection: Connection[Any], until: object, due: int) -> Mapping[str, float]:
    query = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + Queries("claims")["due_page_across_merchants"]
    parameters = {
        "after_due": _BEGINNING.due_at, "after_id": _BEGINNING.job_id, "until": until, "most": due, "skipped": [],
    }  # fmt: skip
    row = connection.execute(query, parameters).fetchone()
    assert row is not None  # noqa: S101 - EXPLAIN always answers
    plan: Mapping[str, float] = row[0][0]["Plan"]
    return plan


def _timed(work: Callable[[], object]) -> float:
    began = monotonic()
    work()
    return (monotonic() - began) * 1_000


def _sizes(url: str) -> dict[str, float]:
    """Bytes of heap and of indexes of all jobs, for each job."""
    query = """
        SELECT sum(pg_table_size(c.oid)), sum(pg_indexes_size(c.oid)), (SELECT count(*) FROM jobs)
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'jobs'::regclass
    """
    with psycopg.connect(url) as connection:
        table, indexes, jobs = connection.execute(query).fetchone() or (0, 0, 1)
    return {
        "table_bytes": float(table),
        "index_bytes": float(indexes),
        "table_bytes_per_job": float(table) / jobs,
        "index_bytes_per_job": float(indexes) / jobs,
    }
