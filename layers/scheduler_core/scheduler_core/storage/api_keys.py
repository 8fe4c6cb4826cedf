"""API keys in storage, as Role.WORKER: the API's own role cannot read them at all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg import Connection

from scheduler_core.domain.errors import NotFoundError
from scheduler_core.storage.queries import Queries

_QUERIES: Final = Queries("api_keys")
MAX_LISTED: Final = 1_000


class ApiKey(NamedTuple):
    """A key as its owner may see it: no secret, no hash."""

    id: str
    merchant_id: UUID
    name: str
    environment: str
    permissions: list[str]
    active: bool
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What a presented key is compared with. `usable`: neither it nor its merchant has been switched off."""

    id: str
    merchant_id: UUID
    environment: str
    secret_sha256: bytes = field(repr=False)
    permissions: list[str]
    expires_at: datetime | None
    last_used_at: datetime | None
    usable: bool


def create(
    connection: Connection[Any],
    merchant_id: UUID,
    *,
    key_id: str,
    environment: str,
    secret_sha256: bytes,
    name: str,
    permissions: Sequence[str],
    now: datetime,
    expires_at: datetime | None = None,
) -> ApiKey:
    """Store a key made by `security.api_keys.generate`."""
    row = connection.execute(
        _QUERIES["create_api_key"],
        {
            "id": key_id,
            "merchant_id": merchant_id,
            "name": name,
            "environment": environment,
            "secret_sha256": secret_sha256,
            "permissions": list(permissions),
            "expires_at": expires_at,
            "now": now,
        },
    ).fetchone()
    assert row is not None  # noqa: S101 - INSERT ... RETURNING answers with its row
    return ApiKey(*row)


def find_across_merchants(connection: Connection[Any], key_id: str) -> StoredKey | None:
    """The key with this id, whoever owns it: only the authorizer asks so."""
    row = connection.execute(_QUERIES["find_api_key_across_merchants"], {"id": key_id}).fetchone()
    return None if row is None else StoredKey(*row)


def note_use(connection: Connection[Any], key_id: str, now: datetime) -> None:
    """Remember that the key was used; written at most once a minute."""
    connection.execute(_QUERIES["note_api_key_use"], {"id": key_id, "now": now})


def get(connection: Connection[Any], merchant_id: UUID, key_id: str) -> ApiKey:
    """One key of the merchant. Raises NotFoundError."""
    row = connection.execute(_QUERIES["get_api_key"], {"merchant_id": merchant_id, "id": key_id}).fetchone()
    if row is None:
        raise NotFoundError(f"key {key_id}")
    return ApiKey(*row)


def list_of_merchant(connection: Connection[Any], merchant_id: UUID) -> list[ApiKey]:
    """The merchant's keys, oldest first, at most `MAX_LISTED`."""
    rows = connection.execute(_QUERIES["list_api_keys"], {"merchant_id": merchant_id, "limit": MAX_LISTED})
    return [ApiKey(*row) for row in rows]


def revoke(connection: Connection[Any], merchant_id: UUID, key_id: str, now: datetime) -> ApiKey:
    """End the key now; revoking twice is once. Raises NotFoundError."""
    connection.execute(_QUERIES["revoke_api_key"], {"merchant_id": merchant_id, "id": key_id, "now": now})
    return get(connection, merchant_id, key_id)


def rotate(
    connection: Connection[Any],
    merchant_id: UUID,
    old_key_id: str,
    *,
    key_id: str,
    secret_sha256: bytes,
    now: datetime,
    old_expires_at: datetime,
) -> ApiKey:
    """Store a new key with the old one's name, environment and permissions; the old one ends at `old_expires_at`.

    Raises NotFoundError where the old key does not exist or is revoked already. The new key must have been generated
    for the old key's environment.
    """
    limited = connection.execute(
        _QUERIES["limit_api_key"], {"merchant_id": merchant_id, "id": old_key_id, "expires_at": old_expires_at}
    ).fetchone()
    if limited is None:
        raise NotFoundError(f"key {old_key_id}")
    old = get(connection, merchant_id, old_key_id)
    return create(
        connection,
        merchant_id,
        key_id=key_id,
        environment=old.environment,
        secret_sha256=secret_sha256,
        name=old.name,
        permissions=old.permissions,
        now=now,
    )
