"""A connection that leads to a replica, to nobody, or to a server that hangs is given up, and the next is a new one."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection

from scheduler_core.domain.errors import DatabaseUnavailableError, StatementAbortedError
from scheduler_core.storage import database as storage
from scheduler_core.storage.database import BoundedConnection, Database
from tests.builders import new_id, rows, store_merchant

USES: dict[str, Callable[[Database, UUID], AbstractContextManager[Connection[Any]]]] = {
    "statement": lambda database, _: database.statement(),
    "transaction": lambda database, _: database.transaction(),
    "of_merchant": lambda database, merchant: database.of_merchant(merchant),
    "at_once_of_merchant": lambda database, merchant: database.at_once_of_merchant(merchant),
}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url, None)
    yield found
    found.close()


@pytest.mark.parametrize("use", USES)
def test_a_server_that_is_a_replica_now_is_away_until_the_next_connection(
    database: Database, database_url: str, use: str
) -> None:
    merchant = store_merchant(database_url)

    def rename() -> None:
        with USES[use](database, merchant) as connection:
            connection.execute("UPDATE merchants SET name = 'new' WHERE id = %s", (merchant,))

    with database.statement() as connection:
        connection.execute("SET default_transaction_read_only = on")  # as a replica has it
    with pytest.raises(DatabaseUnavailableError, match="ReadOnlySqlTransaction"):
        rename()
    rename()
    assert {row["name"] for row in rows(database_url, "SELECT name FROM merchants")} == {"new"}


def test_a_machine_that_is_gone_without_a_word_is_given_up_in_twenty_seconds(database: Database) -> None:
    """Whoever waits for an answer sends nothing that could remain unacknowledged, but for these probes."""
    with database.statement() as connection, socket.socket(fileno=os.dup(connection.fileno())) as its:

        def seconds(option: int) -> int:
            return its.getsockopt(socket.IPPROTO_TCP, option)

        assert its.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert seconds(socket.TCP_USER_TIMEOUT) == 20_000
        assert seconds(socket.TCP_KEEPIDLE) + 2 * seconds(socket.TCP_KEEPINTVL) <= 20


def test_what_is_only_read_is_read_there_too(database: Database) -> None:
    with database.statement() as connection:
        connection.execute("SET default_transaction_read_only = on")
        assert connection.execute("SELECT 1 FROM merchants WHERE id = %s", (new_id(),)).fetchone() is None


@pytest.fixture
def impatient(database_url: str) -> Iterator[Database]:
    found = Database(database_url, None, statement_timeout_seconds=0.2)
    yield found
    found.close()


def process_of(database: Database) -> int:
    """The server's process for its connection."""
    with database.statement() as connection:
        return connection.info.backend_pid


@contextmanager
def hanging(process: int) -> Iterator[None]:
    """It stands still; its machine goes on acknowledging what it is sent."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("use", USES)
def test_a_server_that_hangs_is_away_until_the_next_connection(
    impatient: Database, database_url: str, use: str
) -> None:
    merchant = store_merchant(database_url)

    def rename(name: str) -> None:
        with USES[use](impatient, merchant) as connection:
            connection.execute("UPDATE merchants SET name = %s WHERE id = %s", (name, merchant))

    rename("old")
    with hanging(process_of(impatient)):
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailableError, match="NoAnswerError"):
            rename("lost")
        assert 0.4 <= time.monotonic() - began < 2
        with impatient.statement() as connection:
            (name,) = connection.execute("SELECT name FROM merchants WHERE id = %s", (merchant,)).fetchone() or ("",)
    assert name == "old"


def test_a_connection_that_was_silent_for_long_is_used_only_if_it_leads_to_a_server(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen environment has not seen it go away."""
    first = process_of(database)
    monkeypatch.setattr(storage, "SILENT_SECONDS", 0.0)
    assert process_of(database) == first
    with hanging(first):
        began = time.monotonic()
        assert process_of(database) != first
        assert 0.9 <= time.monotonic() - began < 3


def test_a_connection_in_use_is_not_asked_whether_it_leads_to_a_server(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    process_of(database)
    monkeypatch.setattr(BoundedConnection, "answers_within", None)  # to ask would fail
    process_of(database)


def test_a_server_that_hangs_at_the_commit_is_away_too(impatient: Database, database_url: str) -> None:
    """Nobody knows then whether it was done: as with a connection that is lost at that moment."""
    merchant = store_merchant(database_url)
    with ExitStack() as stack:

        def rename() -> None:
            with impatient.transaction() as connection:
                connection.execute("UPDATE merchants SET name = 'lost' WHERE id = %s", (merchant,))
                stack.enter_context(hanging(connection.info.backend_pid))

        with pytest.raises(DatabaseUnavailableError, match="NoAnswerError"):
            rename()


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("SELECT pg_sleep(10)", "QueryCanceled"),
        ("DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END $$", "DiskFull"),
    ],
)
def test_a_server_that_gives_a_statement_up_is_there_and_the_connection_kept(
    impatient: Database, database_url: str, use: str, fault: LiteralString, cause: str
) -> None:
    merchant = store_merchant(database_url)
    process = process_of(impatient)

    def fail() -> None:
        with USES[use](impatient, merchant) as connection:
            connection.execute("SELECT 1")
            connection.execute(fault)
            connection.execute("SELECT length(%s)", ("x" * 5_000_000,)).fetchone()  # in a pipeline still on its way

    with pytest.raises(StatementAbortedError, match=cause):
        fail()
    assert process_of(impatient) == process


def test_a_server_that_ends_the_connection_is_away(database: Database, database_url: str) -> None:
    process = process_of(database)

    def be_ended() -> None:
        with database.transaction() as connection, psycopg.connect(database_url) as owner:
            owner.execute("SELECT pg_terminate_backend(%s)", (process,))
            connection.execute("SELECT pg_sleep(1)")

    with pytest.raises(DatabaseUnavailableError) as found:
        be_ended()
    assert found.type is DatabaseUnavailableError
