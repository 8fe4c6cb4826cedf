"""EXPLAIN guards the hot statements: an index for each, few partitions for each, whatever is stored beside (I8)."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from scheduler_core.domain.ids import lowest_id
from scheduler_core.storage.queries import Queries
from tests.builders import NOW, new_id, seconds, store_merchant

STORED = 20_000
_FILL = """
INSERT INTO jobs (id, merchant_id, schedule_type, status, priority, max_retries, timeout_seconds, retry_initial_seconds,
    retry_max_seconds, retry_multiplier, scheduled_at, next_run_at, lease_id, attempt, created_at, updated_at,
    target, metadata)
SELECT (substr(%(low)s::text, 1, 14) || '7' || substr(md5(n::text), 1, 3) || '-8' || substr(md5(n::text), 4, 3) || '-'
        || substr(md5(n::text), 7, 12))::uuid,
    %(merchant)s, 'one_time', %(status)s, 0, 3, 30, 1, 3600, 2, %(due)s,
    %(waits)s::timestamptz + n * interval '1 second',
    %(lease)s::bigint, 0, %(due)s, %(due)s, '{}', '{}'
FROM generate_series(1, %(count)s) AS n
"""
_LEASE = """
INSERT INTO leases (id, expires_at, merchant_ids, job_ids)
SELECT lease_id * 1000 + n / 500, max(created_at) + n / 500 * interval '1 second', array_agg(merchant_id), array_agg(id)
FROM (SELECT *, row_number() OVER (PARTITION BY lease_id ORDER BY id) AS n FROM jobs WHERE lease_id IS NOT NULL) AS held
GROUP BY lease_id, n / 500
"""


@pytest.fixture
def stored(database_url: str) -> Iterator[tuple[psycopg.Connection[Any], UUID]]:
    """Weeks of waiting and running jobs of one merchant, in three partitions."""
    merchant = store_merchant(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for week in range(-1, 2):
            low = lowest_id(NOW + timedelta(weeks=week))
            common = {"low": low, "merchant": merchant, "due": NOW}
            waiting = {"status": "pending", "waits": NOW, "lease": None, "count": STORED}
            connection.execute(_FILL.encode(), common | waiting)
            low = lowest_id(NOW + timedelta(weeks=week, days=1))
            running = {"status": "running", "waits": None, "lease": week, "count": 2_000, "low": low}
            connection.execute(_FILL.encode(), common | running)
        connection.execute(_LEASE)
        connection.execute("VACUUM ANALYZE jobs, leases")
        yield connection, merchant


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def explain(
    connection: psycopg.Connection[Any], aggregate: str, name: str, parameters: dict[str, Any], *, generic: bool
) -> list[dict[str, Any]]:
    """The plan's nodes, as PostgreSQL makes it for these values, or once for all values."""
    connection.execute(f"SET plan_cache_mode = force_{'generic' if generic else 'custom'}_plan".encode())
    statement = b"EXPLAIN (ANALYZE, FORMAT JSON) " + Queries(aggregate)[name]
    with connection.transaction(force_rollback=True):
        row = connection.execute(statement, parameters, prepare=True).fetchone()
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return list(nodes(plan[0]["Plan"]))


def assert_indexed(found: list[dict[str, Any]]) -> None:
    """Only empty partitions may be scanned from end to end."""
    scans = [node for node in found if str(node.get("Relation Name", "")).startswith("jobs_")]
    assert any("Index" in node["Node Type"] or "Bitmap" in node["Node Type"] for node in scans)
    whole = [node for node in scans if node["Node Type"] == "Seq Scan"]
    assert not [node for node in whole if node["Actual Rows"] + node.get("Rows Removed by Filter", 0) > 0]


def a_batch(connection: psycopg.Connection[Any], status: str, count: int) -> list[UUID]:
    query = "SELECT id FROM jobs WHERE status = %s ORDER BY id LIMIT %s"
    return [row[0] for row in connection.execute(query, (status, count)).fetchall()]


@pytest.mark.parametrize("generic", [False, True])
def test_the_due_scan_reads_the_due_index(stored: tuple[psycopg.Connection[Any], UUID], generic: bool) -> None:
    connection, _ = stored
    parameters = {
        "after_due": NOW - seconds(10),
        "after_id": UUID(int=0),
        "until": NOW + seconds(90),
        "most": 5_000,
        "skipped": [new_id()],
    }
    found = explain(connection, "claims", "due_page_across_merchants", parameters, generic=generic)
    assert_indexed(found)
    assert any("due" in str(node.get("Index Name")) or "next_run_at" in str(node.get("Index Name")) for node in found)
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in found if "Index" in node["Node Type"]) < 1_000


@pytest.mark.parametrize("generic", [False, True])
def test_a_page_of_what_is_due_at_one_time_reads_no_more_than_the_page(
    stored: tuple[psycopg.Connection[Any], UUID], generic: bool
) -> None:
    """As a thousand merchants' jobs at midnight are: by statistics nothing is left after any place among them."""
    connection, _ = stored
    connection.execute("UPDATE jobs SET next_run_at = %s WHERE status = 'pending'", (NOW,))
    connection.execute("VACUUM ANALYZE jobs")
    ids = a_batch(connection, "pending", STORED + 1)
    parameters = {"after_due": NOW, "after_id": ids[-1], "until": NOW + seconds(90), "most": 500, "skipped": []}
    found = explain(connection, "claims", "due_page_across_merchants", parameters, generic=generic)
    assert_indexed(found)
    assert not [node for node in found if "Sort" in node["Node Type"]]
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in found if "Index" in node["Node Type"])
    assert 500 <= read < 1_000


def read_from(found: list[dict[str, Any]]) -> set[str]:
    """The relations that were really read: partitions that were passed over while the statement ran are not."""
    scans = [node for node in found if "Scan" in node["Node Type"] and "Relation Name" in node]
    return {node["Relation Name"] for node in scans if node["Actual Loops"]}


@pytest.mark.parametrize("generic", [False, True])
def test_a_claim_finds_its_jobs_by_key_in_their_own_weeks(
    stored: tuple[psycopg.Connection[Any], UUID], generic: bool
) -> None:
    connection, merchant = stored
    ids = a_batch(connection, "pending", 500)
    parameters = {
        "merchant_ids": [merchant] * len(ids),
        "job_ids": ids,
        "claimable": ["pending", "retrying"],
        "due_before": NOW + timedelta(days=9),
        "lease_id": 77,
        "lease_expires_at": NOW,
        "now": NOW,
    }
    found = explain(connection, "claims", "claim_jobs", parameters, generic=generic)
    assert_indexed(found)
    touched = read_from(found)
    assert len(touched) == 1


@pytest.mark.parametrize("generic", [False, True])
def test_no_statistics_can_make_a_claim_search_the_due_index(
    stored: tuple[psycopg.Connection[Any], UUID], generic: bool
) -> None:
    """A skip scan would search it once for each time that is due. Not even without the key is it of use."""
    connection, merchant = stored
    connection.execute("ALTER TABLE jobs DROP CONSTRAINT jobs_pkey")
    parameters = {
        "merchant_ids": [merchant],
        "job_ids": a_batch(connection, "pending", 1),
        "claimable": ["pending", "retrying"],
        "due_before": NOW,
        "lease_id": 77,
        "lease_expires_at": NOW,
        "now": NOW,
    }
    found = explain(connection, "claims", "claim_jobs", parameters, generic=generic)
    assert not [node for node in found if "next_run_at" in node.get("Index Cond", "")]


@pytest.mark.parametrize("generic", [False, True])
def test_a_record_finds_its_jobs_by_key_in_their_own_weeks(
    stored: tuple[psycopg.Connection[Any], UUID], generic: bool
) -> None:
    connection, merchant = stored
    ids = a_batch(connection, "running", 500)
    many = len(ids)
    parameters: dict[str, Any] = {
        "merchant_id": [merchant] * many,
        "job_id": ids,
        "attempt": [0] * many,
        "status": ["completed"] * many,
        "outcome": ["completed"] * many,
        "next_run_at": [None] * many,
        "retries": [0] * many,
        "rescues": [0] * many,
        "polls": [0] * many,
        "started_at": [NOW] * many,
        "finished_at": [NOW] * many,
        "http_status": [200] * many,
        "error": [None] * many,
        "response": [None] * many,
        "executor_id": new_id(),
        "leases": [1],
        "now": NOW,
    }
    found = explain(connection, "claims", "record_attempts", parameters, generic=generic)
    assert_indexed(found)
    touched = read_from(found)
    assert touched - {"leases"} == {"jobs_2026w47"}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("oldest_due_across_merchants", {}),
        ("expire_waiting_across_merchants", {"now": NOW, "most": 100, "expirable": ["pending", "retrying"]}),
    ],
)
def test_the_watchers_looks_read_an_index(
    stored: tuple[psycopg.Connection[Any], UUID], name: str, parameters: dict[str, Any]
) -> None:
    connection, _ = stored
    found = explain(connection, "claims", name, parameters, generic=False)
    assert_indexed(found)
    assert max(node["Actual Rows"] for node in found) <= 100


@pytest.mark.parametrize("generic", [False, True])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("lock_lost_across_merchants", {"most": 100}),
        ("end_rescued_leases_across_merchants", {}),
        ("extend_leases", {"lease_expires_at": NOW}),
    ],
)
def test_what_is_held_under_a_lease_is_found_by_key(
    stored: tuple[psycopg.Connection[Any], UUID], name: str, parameters: dict[str, Any], generic: bool
) -> None:
    connection, merchant = stored
    row = connection.execute("SELECT id, job_ids FROM leases WHERE id > 999 ORDER BY id LIMIT 1").fetchone()
    assert row is not None
    held = {"merchant_ids": [merchant] * len(row[1]), "job_ids": row[1], "attempts": [0] * len(row[1])}
    found = explain(connection, "claims", name, parameters | held | {"leases": [row[0]]}, generic=generic)
    assert_indexed(found)
    assert len(read_from(found) - {"leases"}) == 1


@pytest.mark.parametrize("generic", [False, True])
@pytest.mark.parametrize(
    ("name", "parameters", "read"),
    [
        ("throughput_of_a_minute_across_merchants", {"minute": NOW}, 200),
        ("dead_letters_across_merchants", {"since": NOW, "until": NOW + timedelta(minutes=2), "most": 100}, 400),
    ],
)
def test_rates_are_read_for_their_minutes_only(
    database_url: str, name: str, parameters: dict[str, Any], read: int, generic: bool
) -> None:
    """Three hours of 200 merchants are stored: what a look costs depends on what one minute holds."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO throughput (merchant_id, minute, executor_id, completed, failed) "
            "SELECT gen_random_uuid(), %s::timestamptz + n %% 180 * interval '1 minute', gen_random_uuid(), 3, 1 "
            "FROM generate_series(1, 36000) n",
            (NOW - timedelta(minutes=90),),
        )
        connection.execute("VACUUM ANALYZE throughput")
        found = explain(connection, "upkeep", name, parameters, generic=generic)
    scans = [node for node in found if "Scan" in node["Node Type"]]
    assert any(node.get("Index Name") == "throughput_by_age" for node in scans)
    assert not [node for node in scans if node["Node Type"] == "Seq Scan"]
    assert max(node["Actual Rows"] for node in scans) <= read


def test_every_worker_statement_says_that_it_crosses_merchants_or_is_given_them() -> None:
    claims = Queries("claims")
    for name in claims.names():
        assert name.endswith("_across_merchants") or b"merchant_id" in claims[name]
