"""Whether the database answers."""

from typing import Any, Final

from psycopg import Connection

from scheduler_core.storage.queries import Queries

_QUERIES: Final = Queries("health")


def ping(connection: Connection[Any]) -> None:
    """Answers if the database does."""
    connection.execute(_QUERIES["ping"])
