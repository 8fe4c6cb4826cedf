"""Merchants, the tenants: made and listed as Role.WORKER; the API sees its own one only."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg import Connection

from scheduler_core.domain.errors import ConflictError, NotFoundError
from scheduler_core.storage.queries import Queries

_QUERIES: Final = Queries("merchants")


class Merchant(NamedTuple):
    """A tenant. None in `max_concurrency` (deliveries at once) or `rate_limit_per_second`: no limit."""

    id: UUID
    name: str
    active: bool
    weight: int
    max_concurrency: int | None
    rate_limit_per_second: int | None
    signing_key_version: int
    signing_key_rotated_at: datetime | None
    allowed_target_arns: list[str]
    created_at: datetime
    updated_at: datetime


def create(
    connection: Connection[Any],
    merchant_id: UUID,
    *,
    name: str,
    now: datetime,
    weight: int = 1,
    max_concurrency: int | None = None,
    rate_limit_per_second: int | None = None,
    allowed_target_arns: Sequence[str] = (),
) -> Merchant:
    """Store a merchant. `weight` is 1-100. Raises ConflictError where the name is taken."""
    row = connection.execute(
        _QUERIES["create_merchant"],
        {
            "id": merchant_id,
            "name": name,
            "weight": weight,
            "max_concurrency": max_concurrency,
            "rate_limit_per_second": rate_limit_per_second,
            "allowed_target_arns": list(allowed_target_arns),
            "now": now,
        },
    ).fetchone()
    if row is None:
        raise ConflictError(f"there is a merchant named {name!r} already")
    return Merchant(*row)


def get(connection: Connection[Any], merchant_id: UUID) -> Merchant:
    """The merchant. Raises NotFoundError."""
    row = connection.execute(_QUERIES["get_merchant"], {"id": merchant_id}).fetchone()
    if row is None:
        raise NotFoundError(f"merchant {merchant_id}")
    return Merchant(*row)


def find_by_name(connection: Connection[Any], name: str) -> Merchant | None:
    """The merchant of that name, if there is one."""
    row = connection.execute(_QUERIES["find_merchant_by_name"], {"name": name}).fetchone()
    return None if row is None else Merchant(*row)


def list_page(connection: Connection[Any], *, after: UUID | None = None, limit: int = 100) -> list[Merchant]:
    """Up to `limit` merchants made after the one with id `after`, oldest first."""
    rows = connection.execute(_QUERIES["list_merchants"], {"after": after, "limit": limit})
    return [Merchant(*row) for row in rows]


def rotate_signing_key(connection: Connection[Any], merchant_id: UUID, now: datetime) -> Merchant:
    """Take the next webhook secret into use. Raises NotFoundError."""
    row = connection.execute(_QUERIES["rotate_signing_key"], {"id": merchant_id, "now": now}).fetchone()
    if row is None:
        raise NotFoundError(f"merchant {merchant_id}")
    return Merchant(*row)


def target_arns_allowed(connection: Connection[Any], merchant_id: UUID) -> list[str]:
    """The ARN patterns (shell style) that the merchant's jobs may name as targets; none by default."""
    row = connection.execute(_QUERIES["target_arns_allowed"], {"id": merchant_id}).fetchone()
    return [] if row is None else list(row[0])
