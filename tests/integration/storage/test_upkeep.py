"""Partitions come and go by the week; spent rows go by the page; an alert goes out once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from scheduler_core.domain.ids import lowest_id
from scheduler_core.storage import upkeep
from scheduler_core.storage.database import Database, Role
from tests.builders import new_id, rows, seconds, store_jobs, store_merchant

LATER = datetime(2031, 5, 14, 12, tzinfo=UTC)
RETENTION = timedelta(days=30)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, Role.WORKER)
    yield database
    database.close()


def keep(database: Database, now: datetime) -> tuple[int, int]:
    with database.transaction() as connection:
        return upkeep.keep_partitions(connection, now=now, retention=RETENTION)


def keep_until_all_is_dropped(database: Database, now: datetime) -> int:
    """A call drops a few weeks, the oldest first; how many there are depends on the day of the test."""
    dropped = 0
    while more := keep(database, now)[1]:
        dropped += more
    return dropped


def partition_of(database_url: str, job_id: object) -> str:
    return str(rows(database_url, "SELECT tableoid::regclass::text AS part FROM jobs WHERE id = %s", job_id)[0]["part"])


def test_the_coming_weeks_have_partitions_for_each_history(database: Database, database_url: str) -> None:
    made, _ = keep(database, LATER)
    assert made == 15
    assert keep(database, LATER)[0] == 0
    [job] = store_jobs(database_url, store_merchant(database_url), now=LATER)
    assert partition_of(database_url, job) == "jobs_2031w20"


def test_the_ids_of_the_database_and_of_the_code_agree(database_url: str) -> None:
    assert rows(database_url, "SELECT lowest_id(%s) AS id", LATER)[0]["id"] == lowest_id(LATER)


def test_a_job_that_came_before_its_partition_moves_there(database: Database, database_url: str) -> None:
    [job] = store_jobs(database_url, store_merchant(database_url), now=LATER)
    assert partition_of(database_url, job) == "jobs_default"
    keep(database, LATER)
    assert partition_of(database_url, job) == "jobs_2031w20"


def test_a_week_past_retention_is_dropped_and_living_jobs_survive_it(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    keep(database, LATER)
    ended = store_jobs(database_url, merchant, 3, now=LATER, status="completed", next_run_at=None, completed_at=LATER)
    [alive] = store_jobs(database_url, merchant, now=LATER, next_run_at=LATER + timedelta(days=400))
    with psycopg.connect(database_url) as connection:
        for job in (*ended, alive):
            connection.execute(
                "INSERT INTO executions (job_id, merchant_id, attempt, outcome, started_at, finished_at) "
                "VALUES (%s, %s, 1, 'retried', %s, %s)",
                (job, merchant, LATER, LATER),
            )
    assert keep_until_all_is_dropped(database, LATER + RETENTION + timedelta(days=7)) >= 1
    assert [row["id"] for row in rows(database_url, "SELECT id FROM jobs")] == [alive]
    assert [row["job_id"] for row in rows(database_url, "SELECT job_id FROM executions")] == [alive]
    assert partition_of(database_url, alive) == "jobs_default"


def test_a_job_that_ended_recently_outlives_its_week(database: Database, database_url: str) -> None:
    keep(database, LATER)
    much_later = LATER + RETENTION + timedelta(days=7)
    [job] = store_jobs(
        database_url,
        store_merchant(database_url),
        now=LATER,
        status="completed",
        next_run_at=None,
        completed_at=much_later - timedelta(days=1),
    )
    keep_until_all_is_dropped(database, much_later)
    assert partition_of(database_url, job) == "jobs_default"


def test_spent_rows_are_deleted_by_the_page(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    with psycopg.connect(database_url) as connection:
        for number in range(5):
            connection.execute(
                "INSERT INTO idempotency_keys (merchant_id, key, request_sha256, expires_at) VALUES (%s, %s, %s, %s)",
                (merchant, f"key {number}", bytes(32), LATER + seconds(number - 3)),
            )
    with database.transaction() as connection:
        assert upkeep.delete_spent(connection, now=LATER, most=2) == 2
        assert upkeep.delete_spent(connection, now=LATER, most=9) == 2
    assert len(rows(database_url, "SELECT key FROM idempotency_keys")) == 1


def test_an_alert_is_the_first_of_its_window_once(database: Database) -> None:
    subject = str(new_id())

    def first(window: datetime) -> bool:
        with database.transaction() as connection:
            return upkeep.register_alert(
                connection, kind="dead_letters", subject=subject, window_start=window, detail={}, now=LATER
            )

    assert [first(LATER), first(LATER), first(LATER + seconds(3600))] == [True, False, True]
