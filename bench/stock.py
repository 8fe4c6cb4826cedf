"""Puts jobs into the database in bulk, as the API would have stored them, and takes them out again."""

import json
import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import psycopg

from scheduler_core.clock import utc_now
from scheduler_core.domain.ids import ENTROPY_BYTES, uuid7

PAYLOAD: Final = json.dumps({"order": 4711, "note": "x" * 270}, separators=(",", ":"))
"""300 bytes, more or less what a small event has."""
_CHUNK: Final = 2_000
_COLUMNS: Final = (
    "id, merchant_id, schedule_type, status, priority, max_retries, timeout_seconds, retry_initial_seconds,"
    " retry_max_seconds, retry_multiplier, scheduled_at, next_run_at, created_at, updated_at, target, payload, metadata"
)
_INSERT_MERCHANT: Final = """
INSERT INTO merchants (id, name, created_at, updated_at) VALUES (%s, %s, %s, %s) ON CONFLICT (name) DO NOTHING
"""
_TABLES: Final = "templates, jobs, leases, executions, throughput, idempotency_keys, audit_log, alerts"
_TEMPLATE_COLUMNS: Final = (
    "id, merchant_id, name, cron, retry_initial_seconds, retry_max_seconds, retry_multiplier, next_nominal_at,"
    " created_at, updated_at, target, payload, metadata"
)


def make_merchants(url: str, count: int) -> list[UUID]:
    """Merchants without limits; the same ones at every call."""
    now = utc_now()
    with psycopg.connect(url) as connection:
        for number in range(count):
            connection.execute(
                _INSERT_MERCHANT,
                (uuid7(now, os.urandom(ENTROPY_BYTES)), f"bench {number:03}", now, now),
            )
        rows = connection.execute("SELECT id FROM merchants WHERE name LIKE 'bench %' ORDER BY name").fetchall()
    return [row[0] for row in rows[:count]]


def limit(url: str, merchant: UUID, per_second: int | None) -> None:
    """How many deliveries a second it may have; None: as many as there are."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE merchants SET rate_limit_per_second = %s WHERE id = %s", (per_second, merchant))


def clear(url: str) -> None:
    """No templates, no jobs, no history; merchants and keys stay."""
    with psycopg.connect(url) as connection:
        connection.execute(f"TRUNCATE {_TABLES}".encode())


def clear_rates(url: str) -> None:
    """The minutes' rates begin at nothing; jobs and history stay."""
    with psycopg.connect(url) as connection:
        connection.execute("TRUNCATE throughput")


def settle(url: str) -> None:
    """What every contender's database gets before a run: fresh statistics, and the write-ahead log at its start."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def store(
    url: str,
    merchants: Sequence[UUID],
    jobs: int,
    *,
    target_url: str,
    first_due: datetime,
    apart: timedelta = timedelta(),
    payload: str | None = PAYLOAD,
) -> None:
    """`jobs` one-time jobs, the merchants taking turns, due `apart` from one another from `first_due` on."""
    now = utc_now()
    tail = f"{_target(target_url)}\t{_escaped(payload)}\t{{}}\n"
    statement = f"COPY jobs ({_COLUMNS}) FROM STDIN".encode()
    with psycopg.connect(url) as connection, connection.cursor().copy(statement) as copy:
        for chunk in _lines(merchants, jobs, now, first_due, apart, tail):
            copy.write(chunk)


def store_templates(url: str, merchants: Sequence[UUID], count: int, *, target_url: str, daily_at: datetime) -> None:
    """`count` templates, the merchants taking turns, that run each day at the time of `daily_at`, a whole second.

    The first run is at `daily_at` itself, and nothing has made it yet.
    """
    now = utc_now()
    cron = f"{daily_at:%-S %-M %-H} * * *"
    target, metadata = _target(target_url), json.dumps({})
    statement = f"COPY templates ({_TEMPLATE_COLUMNS}) FROM STDIN".encode()
    with psycopg.connect(url) as connection, connection.cursor().copy(statement) as copy:
        for number in range(count):
            merchant, template_id = merchants[number % len(merchants)], uuid7(now, os.urandom(ENTROPY_BYTES))
            times = (daily_at, now, now)
            copy.write_row((template_id, merchant, f"{number}", cron, 1, 3_600, 2, *times, target, PAYLOAD, metadata))


def _target(url: str) -> str:
    return json.dumps({"type": "http", "url": url, "method": "POST", "headers": {}})


def _lines(
    merchants: Sequence[UUID], jobs: int, now: datetime, first_due: datetime, apart: timedelta, tail: str
) -> Iterator[str]:
    names = [str(merchant) for merchant in merchants]
    for start in range(0, jobs, _CHUNK):
        numbers = range(start, min(start + _CHUNK, jobs))
        entropy = os.urandom(ENTROPY_BYTES * len(numbers))
        # Ids follow the time of creation, here of 100,000 jobs a second until now: their order is the index's order.
        made = now - timedelta(milliseconds=(jobs - start) // 100)
        stamp = made.isoformat()
        lines = []
        for place, number in enumerate(numbers):
            job_id = uuid7(made, entropy[place * ENTROPY_BYTES : (place + 1) * ENTROPY_BYTES])
            due = (first_due + number * apart).isoformat() if apart else first_due.isoformat()
            lines.append(
                f"{job_id}\t{names[number % len(names)]}\tone_time\tpending\t0\t3\t30\t1\t3600\t2\t{due}\t{due}"
                f"\t{stamp}\t{stamp}\t{tail}"
            )
        yield "".join(lines)


def _escaped(payload: str | None) -> str:
    return "\\N" if payload is None else payload.replace("\\", "\\\\")
