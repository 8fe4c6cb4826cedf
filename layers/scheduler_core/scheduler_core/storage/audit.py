"""The audit log: who changed what, written in the same transaction as the change."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg import Connection

from scheduler_core.storage.queries import Queries

_QUERIES: Final = Queries("audit")


def record(
    connection: Connection[Any],
    merchant_id: UUID,
    *,
    entry_id: UUID,
    actor: str,
    action: str,
    resource: str,
    now: datetime,
) -> None:
    """Note that `actor` (a key's id) did `action` (`job.cancelled`, `template.edited`) to `resource` (`/jobs/{id}`)."""
    connection.execute(
        _QUERIES["record_action"],
        {
            "id": entry_id,
            "merchant_id": merchant_id,
            "actor": actor,
            "action": action,
            "resource": resource,
            "now": now,
        },
    )
