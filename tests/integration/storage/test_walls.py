"""I7 at the level of SQL: as `scheduler_api`, a transaction sees and changes its own merchant's rows and no other's."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from scheduler_core.domain.jobs import NewJob
from scheduler_core.storage import jobs
from scheduler_core.storage.database import Database, Role
from scheduler_core.storage.queries import Queries
from tests.builders import NOW, http_target, job_row, new_id, rows, store_jobs, store_merchant

WALLED = ("merchants", "templates", "jobs", "executions", "idempotency_keys", "throughput")
_ROWS = (
    """INSERT INTO templates (id, merchant_id, name, interval_seconds, target, metadata, retry_initial_seconds,
           retry_max_seconds, retry_multiplier, created_at, updated_at)
       VALUES (%(id)s, %(merchant)s, 'daily', 60, '{}', '{}', 1, 60, 2, %(now)s, %(now)s)""",
    """INSERT INTO executions (job_id, merchant_id, attempt, outcome, started_at, finished_at)
       VALUES (%(id)s, %(merchant)s, 1, 'failed', %(now)s, %(now)s)""",
    """INSERT INTO idempotency_keys (merchant_id, key, request_sha256, expires_at)
       VALUES (%(merchant)s, 'k', sha256(''), %(now)s)""",
    """INSERT INTO throughput (merchant_id, minute, executor_id) VALUES (%(merchant)s, %(now)s, %(id)s)""",
)


@pytest.fixture
def mine(database_url: str) -> UUID:
    """A merchant with a row in every table."""
    return _merchant_with_rows(database_url)


@pytest.fixture
def theirs(database_url: str) -> UUID:
    """Another one."""
    return _merchant_with_rows(database_url)


def _merchant_with_rows(database_url: str) -> UUID:
    merchant = store_merchant(database_url)
    store_jobs(database_url, merchant)
    with psycopg.connect(database_url) as owner:
        for statement in _ROWS:
            owner.execute(statement.encode(), {"id": new_id(), "merchant": merchant, "now": NOW})
    return merchant


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The database as the API sees it."""
    found = Database(database_url, Role.API)
    yield found
    found.close()


def test_without_a_merchant_there_are_no_rows(database: Database, mine: UUID) -> None:
    with database.transaction() as connection:
        for table in WALLED:
            assert connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (0,), table


def test_every_row_that_is_seen_is_ones_own(database: Database, mine: UUID, theirs: UUID) -> None:
    with database.of_merchant(mine) as connection:
        for table in WALLED:
            column = "id" if table == "merchants" else "merchant_id"
            found = connection.execute(f"SELECT DISTINCT {column} FROM {table}".encode()).fetchall()
            assert found == [(mine,)], table


def test_the_merchant_of_one_transaction_is_forgotten_in_the_next(database: Database, mine: UUID) -> None:
    with database.of_merchant(mine) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    with database.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


def test_a_job_stored_alone_is_its_merchants_and_opens_no_walls(
    database: Database, database_url: str, mine: UUID, theirs: UUID
) -> None:
    job = NewJob(new_id(), mine, NOW, http_target())
    with database.statement() as connection:
        jobs.insert_alone(connection, job, NOW)
        assert connection.execute(b"SELECT count(*) FROM jobs").fetchone() == (0,)
    assert job_row(database_url, job.id)["merchant_id"] == mine
    with pytest.raises(errors.UniqueViolation), database.statement() as connection:
        jobs.insert_alone(connection, job, NOW)


def test_a_job_stored_alone_is_checked_against_the_walls(database: Database, mine: UUID, theirs: UUID) -> None:
    own = b"set_config('scheduler.merchant_id', %(merchant_id)s, true)::uuid"
    statement = Queries("jobs")["insert_job"]
    assert own in statement
    values = NewJob(new_id(), mine, NOW, http_target())._asdict() | {
        "now": NOW,
        "theirs": theirs,
        "schedule_type": "one_time",
        "retry_initial_seconds": 1.0,
        "retry_max_seconds": 60.0,
        "retry_multiplier": 2.0,
    }
    with (
        pytest.raises(errors.InsufficientPrivilege, match="row-level security"),
        database.of_merchant(mine) as connection,
    ):
        connection.execute(statement.replace(own, b"%(theirs)s"), values)


def test_partitions_have_no_back_door(database: Database, mine: UUID, theirs: UUID) -> None:
    with pytest.raises(errors.InsufficientPrivilege), database.of_merchant(mine) as connection:
        connection.execute("SELECT count(*) FROM jobs_2026w48")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET priority = 9 WHERE merchant_id = %(theirs)s",
        "UPDATE templates SET priority = 9 WHERE merchant_id = %(theirs)s",
        "DELETE FROM templates WHERE merchant_id = %(theirs)s",
        "DELETE FROM idempotency_keys WHERE merchant_id = %(theirs)s",
    ],
)
def test_anothers_rows_cannot_be_changed(database: Database, mine: UUID, theirs: UUID, statement: str) -> None:
    with database.of_merchant(mine) as connection:
        assert connection.execute(statement.encode(), {"theirs": theirs}).rowcount == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET merchant_id = %(theirs)s WHERE merchant_id = %(mine)s",
        (
            "INSERT INTO idempotency_keys (merchant_id, key, request_sha256, expires_at)"
            " VALUES (%(theirs)s, 'x', sha256(''), now())"
        ),
        (
            "INSERT INTO executions (job_id, merchant_id, attempt, outcome, started_at, finished_at)"
            " VALUES (gen_random_uuid(), %(theirs)s, 1, 'failed', now(), now())"
        ),
        (
            "INSERT INTO audit_log (id, merchant_id, actor, action, resource, created_at)"
            " VALUES (gen_random_uuid(), %(theirs)s, 'a', 'a', 'a', now())"
        ),
    ],
)
def test_nothing_can_be_put_on_anothers_side(database: Database, mine: UUID, theirs: UUID, statement: str) -> None:
    with (
        pytest.raises(errors.InsufficientPrivilege, match="row-level security"),
        database.of_merchant(mine) as connection,
    ):
        connection.execute(statement.encode(), {"theirs": theirs, "mine": mine})


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM api_keys",
        "SELECT * FROM users",
        "SELECT * FROM audit_log",
        "SELECT * FROM alerts",
        "DELETE FROM jobs",
        "DELETE FROM executions",
        "UPDATE merchants SET weight = 100",
        "UPDATE executions SET error = 'x'",
        "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY",
        "DROP POLICY of_this_merchant ON jobs",
        "SELECT add_partitions(now(), now())",
        "SELECT drop_partitions(now(), 1)",
        "CREATE TABLE mine (a int)",
        "TRUNCATE jobs",
    ],
)
def test_the_api_may_do_nothing_that_it_does_not_need(database: Database, mine: UUID, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege), database.of_merchant(mine) as connection:
        connection.execute(statement.encode())


def test_switching_row_security_off_is_an_error_not_a_way_round(database: Database, mine: UUID) -> None:
    def count_without_walls() -> None:
        with database.of_merchant(mine) as connection:
            connection.execute("SET LOCAL row_security = off")
            connection.execute("SELECT count(*) FROM jobs")

    with pytest.raises(errors.InsufficientPrivilege):
        count_without_walls()


def test_neither_role_can_bypass_or_own_anything(database_url: str) -> None:
    found = rows(
        database_url,
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin FROM pg_roles WHERE rolname = ANY (%s)",
        [role.value for role in Role],
    )
    assert [set(row.values()) for row in found] == [{False}, {False}]
    owned = rows(
        database_url,
        "SELECT relname FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner WHERE rolname = ANY (%s)",
        [role.value for role in Role],
    )
    assert owned == []


def test_every_table_with_a_merchant_is_walled_for_its_owner_too(database_url: str) -> None:
    found = rows(
        database_url,
        """SELECT relname, relrowsecurity AND relforcerowsecurity AS walled FROM pg_class
           WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND NOT relispartition
             AND EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'merchant_id')""",
    )
    assert len(found) >= 8
    assert all(row["walled"] for row in found), found


def test_an_unknown_merchant_sees_nothing(database: Database, mine: UUID, theirs: UUID) -> None:
    with database.of_merchant(new_id()) as connection:
        counts: list[Any] = [
            connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() for table in WALLED
        ]
    assert counts == [(0,)] * len(WALLED)
