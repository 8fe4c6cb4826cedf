"""A merchant's transaction in one round trip: all of it or nothing, and inside the walls (I7), as the ordinary one."""

from collections.abc import Iterable, Iterator
from uuid import UUID

import pytest
from psycopg import errors

from scheduler_core.domain.errors import DatabaseUnavailableError
from scheduler_core.storage.database import Database, Role
from tests.builders import NOW, rows, store_merchant

_KEEP = b"INSERT INTO idempotency_keys (merchant_id, key, request_sha256, expires_at) VALUES (%s, %s, sha256(''), %s)"


@pytest.fixture
def mine(database_url: str) -> UUID:
    return store_merchant(database_url)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The database as the API sees it."""
    found = Database(database_url, Role.API)
    yield found
    found.close()


def _keep(database: Database, merchant_id: UUID, keys: Iterable[str | None]) -> None:
    with database.at_once_of_merchant(merchant_id) as connection:
        for key in keys:
            connection.execute(_KEEP, (merchant_id, key, NOW))


def _kept(database_url: str) -> list[str]:
    return [row["key"] for row in rows(database_url, "SELECT key FROM idempotency_keys ORDER BY key")]


def test_it_is_committed_at_the_end(database: Database, database_url: str, mine: UUID) -> None:
    _keep(database, mine, ["a", "b"])
    assert _kept(database_url) == ["a", "b"]


def test_an_answer_can_be_fetched_inside(database: Database, database_url: str, mine: UUID) -> None:
    with database.at_once_of_merchant(mine) as connection:
        connection.execute(_KEEP, (mine, "a", NOW))
        assert connection.execute(b"SELECT key FROM idempotency_keys").fetchall() == [("a",)]
        assert _kept(database_url) == []
    assert _kept(database_url) == ["a"]


@pytest.mark.parametrize("bad_first", [True, False])
def test_one_bad_statement_undoes_all_of_them(
    database: Database, database_url: str, mine: UUID, bad_first: bool
) -> None:
    keys: list[str | None] = [None, "a"] if bad_first else ["a", None]
    with pytest.raises(errors.NotNullViolation):
        _keep(database, mine, keys)
    assert _kept(database_url) == []
    test_it_is_committed_at_the_end(database, database_url, mine)


def test_a_fault_of_ours_undoes_what_was_sent(database: Database, database_url: str, mine: UUID) -> None:
    def keep_and_fail() -> None:
        with database.at_once_of_merchant(mine) as connection:
            connection.execute(_KEEP, (mine, "a", NOW))
            raise LookupError

    with pytest.raises(LookupError):
        keep_and_fail()
    assert _kept(database_url) == []
    test_it_is_committed_at_the_end(database, database_url, mine)


def test_another_merchants_row_cannot_be_written(database: Database, database_url: str, mine: UUID) -> None:
    theirs = store_merchant(database_url)
    with pytest.raises(errors.InsufficientPrivilege), database.at_once_of_merchant(mine) as connection:
        connection.execute(_KEEP, (theirs, "a", NOW))
    assert _kept(database_url) == []


def test_the_merchant_is_forgotten_in_the_next_transaction(database: Database, mine: UUID) -> None:
    with database.at_once_of_merchant(mine) as connection:
        connection.execute(_KEEP, (mine, "a", NOW))
    with database.transaction() as connection:
        assert connection.execute(b"SELECT count(*) FROM idempotency_keys").fetchone() == (0,)


def test_a_connection_that_is_lost_is_told_and_replaced(database: Database, database_url: str, mine: UUID) -> None:
    def keep_and_be_cut_off() -> None:
        with database.at_once_of_merchant(mine) as connection:
            connection.execute(_KEEP, (mine, "a", NOW))
            rows(database_url, "SELECT pg_terminate_backend(%s)", connection.info.backend_pid)
            connection.execute(b"SELECT pg_sleep(1)").fetchone()

    with pytest.raises(DatabaseUnavailableError):
        keep_and_be_cut_off()
    test_it_is_committed_at_the_end(database, database_url, mine)


def test_what_is_done_meanwhile_is_no_promise(database: Database, database_url: str, mine: UUID) -> None:
    """It is done once all is sent, unless a fault has come back by then; PostgreSQL may still not commit."""
    done: list[str] = []
    with database.at_once_of_merchant(mine, meanwhile=lambda: done.append("good")) as connection:
        connection.execute(_KEEP, (mine, "a", NOW))
        assert done == []
    with (
        pytest.raises(errors.NotNullViolation),
        database.at_once_of_merchant(mine, meanwhile=lambda: done.append("bad")) as connection,
    ):
        connection.execute(_KEEP, (mine, None, NOW))
    assert done in (["good"], ["good", "bad"])
    assert _kept(database_url) == ["a"]
