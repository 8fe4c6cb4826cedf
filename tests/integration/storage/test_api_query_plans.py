"""EXPLAIN over the API's queries: each finds what it wants through an index (I8)."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from scheduler_core.domain.lifecycle import Event, allowed_from
from scheduler_core.storage.queries import Queries
from tests.builders import NOW, new_id, store_jobs, store_merchant

JOBS = Queries("jobs")
_FILL = """
INSERT INTO jobs (id, merchant_id, template_id, schedule_type, status, priority, max_retries, timeout_seconds,
    retry_initial_seconds, retry_max_seconds, retry_multiplier, scheduled_at, next_run_at, completed_at, dead,
    created_at, updated_at, reference_id, target, payload, metadata)
SELECT overlay(lowest_id(made)::text placing lpad(to_hex(n), 12, '0') from 25)::uuid,
    CASE WHEN mod(n, 3) = 0 THEN %(merchant)s::uuid ELSE %(other)s::uuid END,
    CASE WHEN mod(n, 30) = 0 THEN %(template)s::uuid END, 'one_time', status::job_status, 0, 3, 30, 1, 60, 2, made,
    CASE WHEN status = 'pending' THEN made END, CASE WHEN status <> 'pending' THEN made END, status = 'failed', made,
    made,
    CASE WHEN mod(n, 100) = 0 THEN 'order 5' END, '{"type":"http","url":"http://example.com/"}', '{}', '{}'
FROM generate_series(1, 9000) AS n, LATERAL (
    SELECT %(now)s::timestamptz - n * interval '2 minutes',
        CASE WHEN mod(n, 15) = 0 THEN 'failed' WHEN mod(n, 2) = 0 THEN 'completed' ELSE 'pending' END
) AS made (made, status)
"""


_FILL_EXECUTIONS = """
INSERT INTO executions (job_id, merchant_id, attempt, outcome, started_at, finished_at)
SELECT id, merchant_id, nth, 'retried', created_at, created_at FROM jobs, generate_series(1, 2) AS nth
"""
FILLED = ("2026w47", "2026w48")
"""The weeks that hold something: reading an empty partition from end to end costs nothing."""


@pytest.fixture
def filled(database_url: str) -> Iterator[tuple[psycopg.Connection[Any], dict[str, Any]]]:
    """A connection inside the walls of a merchant with 3,000 of 9,000 jobs, and parameters for its queries."""
    merchant, other, template = store_merchant(database_url), store_merchant(database_url), new_id()
    with psycopg.connect(database_url) as owner:
        owner.execute(_FILL.encode(), {"merchant": merchant, "other": other, "template": template, "now": NOW})
        owner.execute(_FILL_EXECUTIONS.encode())
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("ANALYZE jobs")
        owner.execute("ANALYZE executions")
    (job,) = store_jobs(database_url, merchant)
    parameters = {
        "merchant_id": merchant,
        "id": job,
        "job_id": job,
        "ids": [job],
        "first_id": job,
        "last_id": job,
        "before": UUID(int=(1 << 128) - 1),
        "template_id": template,
        "reference_id": "order 5",
        "statuses": None,
        "scheduled_from": None,
        "scheduled_to": None,
        "scan": 10_000,
        "offset": 0,
        "limit": 51,
        "most_bytes": 1 << 20,
        "after": 0,
        "now": NOW,
        "since": NOW - timedelta(hours=1),
        "allowed": allowed_from(Event.CANCEL),
        "scheduled_at": None,
        "priority": 5,
        "max_retries": None,
        "timeout_seconds": None,
        "target": None,
        "metadata": None,
        "payload": None,
        "sets_payload": False,
    }
    with psycopg.connect(database_url) as connection:
        connection.execute("SET ROLE scheduler_api")
        connection.execute("SELECT set_config('scheduler.merchant_id', %s, false)", (str(merchant),))
        yield connection, parameters
        connection.rollback()


def plan(connection: psycopg.Connection[Any], name: str, parameters: dict[str, Any], *, prepared: bool) -> str:
    """The plan of a named query, with these values or for any values."""
    connection.execute(b"SET plan_cache_mode = " + (b"force_generic_plan" if prepared else b"auto"))
    rows = connection.execute(b"EXPLAIN (COSTS OFF) " + JOBS[name], parameters, prepare=prepared).fetchall()
    return "\n".join(row[0] for row in rows)


EXPECTED = {
    "page_of_all": "_pkey",
    "page_of_dead": "merchant_id_id_idx",
    "page_of_reference": "merchant_id_reference_id_id_idx",
    "page_of_template": "merchant_id_template_id_id_idx",
    "read_jobs": "_pkey",
    "waiting_jobs": "_pkey",
    "job_status": "_pkey",
    "cancel_job": "_pkey",
    "edit_job": "_pkey",
    "redrive_job": "_pkey",
    "run_job_now": "_pkey",
    "list_executions": "_pkey",
    "recent_throughput": "_pkey",
}


def test_every_query_of_the_api_is_looked_at() -> None:
    unbounded_by_design = {"insert_job", "insert_jobs", "count_jobs"}
    assert set(EXPECTED) | unbounded_by_design == set(JOBS.names())


@pytest.mark.parametrize("prepared", [False, True], ids=["these values", "any values"])
def test_queries_use_the_index_that_fits(
    filled: tuple[psycopg.Connection[Any], dict[str, Any]], subtests: pytest.Subtests, prepared: bool
) -> None:
    """I8: no query walks through a table."""
    connection, parameters = filled
    for name, index in EXPECTED.items():
        with subtests.test(query=name):
            found = plan(connection, name, parameters, prepared=prepared)
            assert index in found, found
            walked = [
                line for line in found.splitlines() if "Seq Scan" in line and any(week in line for week in FILLED)
            ]
            assert not walked, found


def test_a_page_stops_looking_when_it_is_full(filled: tuple[psycopg.Connection[Any], dict[str, Any]]) -> None:
    """I8: a page of 50 reads 51 rows of 3,000."""
    connection, parameters = filled
    rows = connection.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + JOBS["page_of_all"], parameters).fetchone()
    assert rows is not None
    assert _rows_read(rows[0][0]["Plan"]) <= 51 + 5


def _rows_read(node: dict[str, Any]) -> float:
    own = node["Actual Rows"] * node["Actual Loops"] if "Index" in node["Node Type"] else 0
    return float(own) + sum(_rows_read(child) for child in node.get("Plans", []))


def test_one_job_is_looked_for_in_one_partition(filled: tuple[psycopg.Connection[Any], dict[str, Any]]) -> None:
    connection, parameters = filled
    for name in ("read_jobs", "job_status", "cancel_job", "edit_job", "redrive_job", "run_job_now"):
        found = plan(connection, name, parameters, prepared=False)
        assert {
            line.split(" on ")[1].split()[0] for line in found.splitlines() if "Scan" in line and "jobs_" in line
        } == {"jobs_2026w48"}, found
