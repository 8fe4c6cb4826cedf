"""Applies `migrations/*.sql`: each file once, in order, in a transaction of its own, under one lock.

Ours and not a library, because those at hand either need an ORM or keep their lock in a row that a killed process
leaves behind, and none of them notices that a file which has been applied was edited afterwards.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.errors import QueryCanceled

from scheduler_core.domain.errors import DatabaseUnavailableError, MigrationError, SecretUnavailableError
from scheduler_core.storage.login import Login
from scheduler_core.storage.queries import Queries

_QUERIES = Queries("migrations")
_CANCEL_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name is its place in the order, its checksum proves that it is still what was applied."""

    name: str
    statements: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.statements).hexdigest()


def read_migrations(directory: Path) -> list[Migration]:
    """All migrations in `directory`, in order. Raises MigrationError where there are none."""
    found = [Migration(path.name, path.read_bytes()) for path in sorted(directory.glob("*.sql"))]
    if not found:
        raise MigrationError(f"no migrations in {directory}")
    return found


def outstanding(migrations: list[Migration], applied: dict[str, str]) -> list[Migration]:
    """What is still to be applied.

    Names in `applied` that no file has are left alone: the database may be ahead during a rollback. Raises
    MigrationError for a file that was changed after it was applied, or that would have to be applied out of order.
    """
    changed = [m.name for m in migrations if applied.get(m.name, m.sha256) != m.sha256]
    if changed:
        raise MigrationError(f"changed after it was applied: {', '.join(changed)}; write a new migration instead")
    waiting = [m for m in migrations if m.name not in applied]
    latest = max(applied, default="")
    late = [m.name for m in waiting if m.name < latest]
    if late:
        raise MigrationError(f"{', '.join(late)} comes before {latest}, which has been applied")
    return waiting


def apply_migrations(
    where: str | Login, directory: Path, *, connect_timeout_seconds: int = 5, seconds: float | None = None
) -> list[str]:
    """Bring the database at `where` (the owner's URL or Login) up to date; answers the names applied by this call.

    Any number of callers may race: one works, the others wait and then find nothing to do. After `seconds` (None: no
    bound) the file at hand, or the waiting, is taken back. Raises MigrationError, or DatabaseUnavailableError where the
    server cannot be reached or goes away; a file that fails leaves no trace.
    """
    migrations = read_migrations(directory)
    login = Login.with_url(where) if isinstance(where, str) else where
    try:
        with (
            login.connect(
                psycopg.Connection, connect_timeout=connect_timeout_seconds, application_name="task-scheduler-migrate"
            ) as connection,
            _bounded(connection, seconds),
        ):
            return _apply_all(connection, migrations)
    except QueryCanceled as error:
        raise MigrationError(f"not done within {seconds:.0f} s, and taken back") from error
    except (psycopg.OperationalError, SecretUnavailableError) as error:
        raise DatabaseUnavailableError(type(error).__name__) from error


@contextmanager
def _bounded(connection: psycopg.Connection, seconds: float | None) -> Iterator[None]:
    """Cancels whatever `connection` does after `seconds`, again and again until it has noticed."""
    if seconds is None:
        yield
        return
    ended = threading.Event()

    def cancel() -> None:
        ended.wait(seconds)
        while not ended.wait(_CANCEL_EVERY_SECONDS):
            with suppress(psycopg.Error):
                connection.cancel_safe(timeout=_CANCEL_EVERY_SECONDS)

    thread = threading.Thread(target=cancel, name="migration-limit", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _apply_all(connection: psycopg.Connection, migrations: list[Migration]) -> list[str]:
    try:
        connection.execute(_QUERIES["lock_migrations"])
        connection.execute(_QUERIES["create_ledger"])
        applied: dict[str, str] = dict(connection.execute(_QUERIES["applied_migrations"]).fetchall())
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationError(f"the owner of the schema has to be the owner of the database: {error}") from error
    names = []
    for migration in outstanding(migrations, applied):
        _apply(connection, migration)
        names.append(migration.name)
    return names


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    try:
        with connection.transaction():
            connection.execute(migration.statements)
            connection.execute(_QUERIES["record_migration"], {"name": migration.name, "sha256": migration.sha256})
    except QueryCanceled as error:
        raise MigrationError(f"{migration.name}: it takes too long, and was taken back") from error
    except psycopg.OperationalError:
        raise
    except psycopg.DatabaseError as error:
        raise MigrationError(f"{migration.name}: {error}") from error
