"""The watcher's housekeeping: partitions, spent rows, alerts. All of it bounded, all of it across merchants."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection

from scheduler_core.storage.queries import Queries

_QUERIES = Queries("upkeep")
WEEKS_AHEAD = 4
MOST_SURVIVORS = 10_000
"""The most living jobs that outlive their week in the default partition; a week with more waits."""


def keep_partitions(connection: Connection[Any], *, now: datetime, retention: timedelta) -> tuple[int, int]:
    """Make the coming weeks' partitions, drop those past `retention`; answers (made, dropped)."""
    made = connection.execute(
        _QUERIES["add_partitions"], {"wanted_from": now, "wanted_to": now + timedelta(weeks=WEEKS_AHEAD)}
    ).fetchone()
    dropped = connection.execute(
        _QUERIES["drop_partitions"], {"keep_from": now - retention, "most_survivors": MOST_SURVIVORS}
    ).fetchone()
    return (made or (0,))[0], (dropped or (0,))[0]


def delete_spent(connection: Connection[Any], *, now: datetime, most: int) -> int:
    """Delete up to `most` each of spent idempotency keys and old rates; answers how many."""
    keys = connection.execute(
        _QUERIES["delete_spent_idempotency_keys_across_merchants"], {"now": now, "most": most}
    ).rowcount
    rates = connection.execute(
        _QUERIES["delete_old_throughput_across_merchants"], {"before": now - timedelta(hours=3), "most": most}
    ).rowcount
    return keys + rates


def dead_letters_across_merchants(
    connection: Connection[Any], *, since: datetime, until: datetime, most: int = 100
) -> list[tuple[UUID, int]]:
    """(merchant, failed jobs) for merchants with dead letters in a span, the worst first."""
    rows: list[tuple[UUID, int]] = connection.execute(
        _QUERIES["dead_letters_across_merchants"], {"since": since, "until": until, "most": most}
    ).fetchall()
    return rows


def throughput_across_merchants(connection: Connection[Any], *, now: datetime) -> tuple[int, int]:
    """(completed, failed) in the last whole minute before `now`."""
    minute = now.replace(second=0, microsecond=0) - timedelta(minutes=1)
    row = connection.execute(_QUERIES["throughput_of_a_minute_across_merchants"], {"minute": minute}).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def register_alert(
    connection: Connection[Any],
    *,
    kind: str,
    subject: str,
    window_start: datetime,
    detail: dict[str, Any],
    now: datetime,
) -> bool:
    """Whether this alert is the first of its kind and subject in its window; holds once committed."""
    row = connection.execute(
        _QUERIES["register_alert"],
        {"kind": kind, "subject": subject, "window_start": window_start, "detail": json.dumps(detail), "now": now},
    ).fetchone()
    return row is not None
