"""Merchants and keys, straight in the database: the API has no routes for them, on purpose."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection

from cli.exits import CommandError, ExitCode
from scheduler_core.domain.errors import (
    ConflictError,
    DatabaseUnavailableError,
    MigrationError,
    NotFoundError,
    SchedulerError,
)
from scheduler_core.domain.ids import ENTROPY_BYTES, uuid7
from scheduler_core.storage import api_keys, audit, merchants
from scheduler_core.storage.api_keys import ApiKey
from scheduler_core.storage.database import Database, Role
from scheduler_core.storage.merchants import Merchant

_CODES: dict[type[SchedulerError], ExitCode] = {
    ConflictError: ExitCode.CONFLICT,
    DatabaseUnavailableError: ExitCode.UNAVAILABLE,
    MigrationError: ExitCode.CONFLICT,
    NotFoundError: ExitCode.NOT_FOUND,
}


@contextmanager
def transaction(url: str) -> Iterator[Connection[Any]]:
    """A transaction across merchants at `url`; every failure is a CommandError."""
    database = Database(url, Role.WORKER)
    try:
        with translated(), database.transaction() as connection:
            yield connection
    finally:
        database.close()


@contextmanager
def translated() -> Iterator[None]:
    """Turns what storage raises into a CommandError."""
    try:
        yield
    except SchedulerError as error:
        code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), ExitCode.FAILED)
        raise CommandError(code, type(error).__doc__ or "The operation failed.", str(error) or None) from error


def merchant(connection: Connection[Any], name_or_id: str) -> Merchant:
    """The merchant with this id or name."""
    try:
        return merchants.get(connection, UUID(name_or_id))
    except ValueError:
        found = merchants.find_by_name(connection, name_or_id)
    if found is None:
        raise NotFoundError(f"no merchant is named {name_or_id!r}; `scheduler merchants list` names them")
    return found


def key(connection: Connection[Any], key_id: str) -> ApiKey:
    """The key with this id, or with this id inside a whole key `ts_<environment>_<id>_...`."""
    bare = key_id.split("_")[2] if key_id.startswith("ts_") and key_id.count("_") >= 3 else key_id
    stored = api_keys.find_across_merchants(connection, bare)
    if stored is None:
        raise NotFoundError(f"no key has the id {bare}; `scheduler keys list` shows them")
    return api_keys.get(connection, stored.merchant_id, bare)


def key_state(stored: ApiKey, now: datetime) -> str:
    """`active`, `revoked` or `expired`."""
    if stored.revoked_at is not None or not stored.active:
        return "revoked"
    return "expired" if stored.expires_at is not None and stored.expires_at <= now else "active"


def note(connection: Connection[Any], merchant_id: UUID, action: str, resource: str, now: datetime) -> None:
    """Write to the audit log that the operator did this."""
    audit.record(
        connection,
        merchant_id,
        entry_id=uuid7(now, os.urandom(ENTROPY_BYTES)),
        actor="operator",
        action=action,
        resource=resource,
        now=now,
    )
