"""Transactions that note in the audit log what they did."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from psycopg import Connection

from api import wiring
from api.callers import Caller
from scheduler_core.domain.ids import uuid7
from scheduler_core.storage import audit


@contextmanager
def audited(caller: Caller, resource: str, action: str, now: datetime, entropy: bytes) -> Iterator[Connection[Any]]:
    """A transaction inside the caller's walls; `action` on `resource` (a path) is noted in it, or neither happens."""
    with wiring.database().of_merchant(caller.merchant_id) as connection:
        yield connection
        audit.record(
            connection,
            caller.merchant_id,
            entry_id=uuid7(now, entropy),
            actor=caller.key_id,
            action=action,
            resource=resource,
            now=now,
        )
