"""A connection that outlives a failover leads to a replica: it is given up, and the next leads to the new primary."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from scheduler_core.domain.errors import DatabaseUnavailableError
from scheduler_core.storage.database import Database
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
