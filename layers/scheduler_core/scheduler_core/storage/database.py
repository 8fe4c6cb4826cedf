"""One connection to PostgreSQL, acting as one role, for one thread.

A Lambda environment serves one request at a time and the executor gives each of its threads a connection, so there
is nothing to pool; what matters is that a broken connection is noticed and replaced. An environment that is frozen
between two requests sees nothing of a server that goes away meanwhile.
"""

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import Connection, sql
from psycopg.abc import PQGen
from psycopg.types.string import TextBinaryLoader, TextLoader

from scheduler_core.clock import monotonic, utc_now
from scheduler_core.domain.errors import DatabaseUnavailableError, SecretUnavailableError, StatementAbortedError
from scheduler_core.settings import DatabaseSettings
from scheduler_core.storage.login import Login

Row = tuple[Any, ...]
_WALLS: Final = b"SELECT set_config('scheduler.merchant_id', %s, true)"
_PATIENCE: Final = 2
"""So many statement time-outs is a server waited for: one that does not end a statement after the first hangs."""
APPLICATION_NAME: Final = "task-scheduler"
SILENT_SECONDS: Final = 75.0
"""A connection that was not used for so long is asked whether it still leads to a server: a little more than a minute,
so that a function that runs each minute need not ask."""
_PROBE_SECONDS: Final = 1.0
_AWAY: Final = ("08", "57P", "53300")
"""Codes of a server that says so as it goes, or has no room for one more connection."""


class Role(StrEnum):
    """The two roles of the schema: one merchant at a time, or all of them."""

    API = "scheduler_api"
    WORKER = "scheduler_worker"


class NoAnswerError(psycopg.OperationalError):
    """The server hangs, though its machine acknowledges what it is sent, so that neither end of TCP sees anything."""


class BoundedConnection(Connection[Row]):
    """A connection that is not waited for longer than `patience_seconds` at a time (None: for ever)."""

    patience_seconds: float | None = None

    def answers_within(self, seconds: float) -> bool:
        """Whether the server does; else the connection is of no more use."""
        usual, self.patience_seconds = self.patience_seconds, seconds
        try:
            self.execute(b"")
        except psycopg.OperationalError:
            return False
        finally:
            self.patience_seconds = usual
        return True

    def wait[T](self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """As psycopg's. Raises NoAnswerError, and the connection is closed: what is asked may still be done."""
        if timeout is not None or self.patience_seconds is None:
            return super().wait(gen, interval, timeout)
        began = monotonic()
        try:
            return super().wait(gen, interval, self.patience_seconds)
        except psycopg.OperationalError as error:
            if monotonic() - began < self.patience_seconds:
                raise  # that was an answer, or the connection is gone
            self.pgconn.finish()
            raise NoAnswerError(f"no answer in {self.patience_seconds} s") from error


class Database:
    """A lazily made connection to `where` (a URL or a Login) as `role` (None: as the owner).

    Every failure to reach the server, at any point, is a DatabaseUnavailableError, and so is a password that cannot
    be had, a server that is a replica now, or one that does not answer in twice the time a statement may take; the
    next use connects anew. Where the server only gives a statement up it is a StatementAbortedError, which is one too.
    """

    def __init__(
        self,
        where: str | Login,
        role: Role | None,
        *,
        connect_timeout_seconds: int = 3,
        statement_timeout_seconds: float = 5.0,
        application_name: str = APPLICATION_NAME,
    ) -> None:
        self._login = Login.with_url(where) if isinstance(where, str) else where
        self._role = role
        self._connect_timeout = connect_timeout_seconds
        self._statement_timeout = statement_timeout_seconds
        self._application_name = application_name
        self._connection: BoundedConnection | None = None
        self._used_at = utc_now()

    @classmethod
    def connect(cls, settings: DatabaseSettings, role: Role | None) -> "Database":
        """As the settings say. Nothing is connected yet."""
        return cls(
            Login.of(settings),
            role,
            connect_timeout_seconds=settings.database_connect_timeout_seconds,
            statement_timeout_seconds=settings.database_statement_timeout_seconds,
            application_name=f"{APPLICATION_NAME} {settings.powertools_service_name}".strip(),
        )

    @contextmanager
    def statement(self) -> Iterator[Connection[Row]]:
        """A connection across merchants for one statement, a transaction of its own: one round trip, not three."""
        with self._translated():
            yield self._alive()

    @contextmanager
    def transaction(self) -> Iterator[Connection[Row]]:
        """A transaction across merchants; committed at the end, rolled back on any error."""
        with self._translated():
            connection = self._alive()
            with connection.transaction():
                yield connection

    @contextmanager
    def of_merchant(self, merchant_id: UUID) -> Iterator[Connection[Row]]:
        """A transaction inside the walls of one merchant (I7)."""
        with self._translated():
            connection = self._alive()
            with connection.transaction():
                connection.execute(_WALLS, (str(merchant_id),))
                yield connection

    @contextmanager
    def at_once_of_merchant(
        self, merchant_id: UUID, *, meanwhile: Callable[[], None] = lambda: None
    ) -> Iterator[Connection[Row]]:
        """A transaction inside the walls of one merchant (I7), in one round trip from BEGIN to COMMIT.

        Statements are sent while the block goes on, and PostgreSQL works on them meanwhile. So a statement's fault is
        raised where an answer is fetched, or at the end of the block; and a row count is not known inside.
        `meanwhile` is done while PostgreSQL commits, which may yet fail: it must not tell anyone of it.
        """
        with self._translated():
            connection = self._alive()
            try:
                with connection.pipeline():
                    connection.execute(b"BEGIN")
                    connection.execute(_WALLS, (str(merchant_id),))
                    yield connection
                    connection.execute(b"COMMIT")
                    meanwhile()
            except BaseException:
                # What was sent after the fault was skipped, the COMMIT too.
                if not connection.closed:
                    connection.rollback()
                raise

    def close(self) -> None:
        """Give the connection up; a later use makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.errors.ReadOnlySqlTransaction as error:
            self.close()  # it has become a replica in a failover, and this connection would lead to it for ever
            raise DatabaseUnavailableError(type(error).__name__) from error
        except (psycopg.OperationalError, psycopg.InterfaceError, SecretUnavailableError) as error:
            state = getattr(error, "sqlstate", None)
            kind = StatementAbortedError if state and not state.startswith(_AWAY) else DatabaseUnavailableError
            raise kind(type(error).__name__) from error

    def _alive(self) -> Connection[Row]:
        now, connection = utc_now(), self._connection
        # By the clock on the wall, for it may be that no other goes on in an environment that is frozen.
        silent, self._used_at = abs((now - self._used_at).total_seconds()), now
        if connection is not None and not connection.closed:
            # A server that went away has left an end-of-file to be read; a healthy idle one is silent.
            idle = select.poll()
            idle.register(connection.fileno(), select.POLLIN)
            if not idle.poll(0) and (silent < SILENT_SECONDS or connection.answers_within(_PROBE_SECONDS)):
                return connection
            connection.close()
        self._connection = self._connect()
        return self._connection

    def _connect(self) -> BoundedConnection:
        connection = self._login.connect(
            BoundedConnection,
            connect_timeout=self._connect_timeout,
            application_name=self._application_name,
            keepalives_idle=10,
            keepalives_interval=5,  # at the system's 75 s nobody would notice within the next line's time
            tcp_user_timeout=20_000,
        )
        try:
            connection.patience_seconds = _PATIENCE * self._statement_timeout
            for loader in (TextLoader, TextBinaryLoader):  # what is stored as JSON is passed on as it is
                connection.adapters.register_loader("json", loader)
            timeout_ms = round(self._statement_timeout * 1_000)
            settings = sql.SQL("SET timezone = 'UTC'; SET statement_timeout = {}").format(timeout_ms)
            if self._role is not None:
                settings += sql.SQL("; SET ROLE {}").format(sql.Identifier(self._role))
            connection.execute(settings)  # in one round trip
        except BaseException:
            connection.close()
            raise
        return connection
