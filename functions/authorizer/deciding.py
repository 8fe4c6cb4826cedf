"""Whether a presented key is good, and for what."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from scheduler_core.security.api_keys import ParsedKey, parse, proves
from scheduler_core.storage import api_keys
from scheduler_core.storage.api_keys import StoredKey
from scheduler_core.storage.database import Database

USE_NOTED_EVERY: Final = timedelta(minutes=1)


class Grant(NamedTuple):
    """What a good key stands for."""

    merchant_id: UUID
    key_id: str
    permissions: tuple[str, ...]


def decide(database: Database, presented: str, now: datetime) -> Grant | None:
    """What the presented key grants; None: it is no good. A mistyped key is told by its checksum, without a query.

    Raises DatabaseUnavailableError.
    """
    parsed = parse(presented)
    if parsed is None:
        return None
    with database.transaction() as connection:
        stored = api_keys.find_across_merchants(connection, parsed.id)
        if stored is None or not _good(parsed, stored, now):
            return None
        if stored.last_used_at is None or stored.last_used_at <= now - USE_NOTED_EVERY:
            api_keys.note_use(connection, stored.id, now)
    return Grant(stored.merchant_id, stored.id, tuple(stored.permissions))


def _good(parsed: ParsedKey, stored: StoredKey, now: datetime) -> bool:
    proven = proves(parsed, stored.secret_sha256)
    expired = stored.expires_at is not None and stored.expires_at <= now
    return proven and stored.usable and not expired and parsed.environment == stored.environment
