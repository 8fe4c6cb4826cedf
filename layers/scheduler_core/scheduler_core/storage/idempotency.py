"""Idempotency keys: the first request with a key does the work, every other one gets its answer.

The key is taken in the transaction that does the work. A rival waits at the INSERT until that transaction ends: if it
commits, the rival reads its answer; if it rolls back, the rival is the first.
"""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg import Connection

from scheduler_core.domain.errors import IdempotencyMismatchError
from scheduler_core.storage.queries import Queries

_QUERIES: Final = Queries("idempotency")
KEPT_FOR: Final = timedelta(hours=24)
MAX_KEY_CHARACTERS: Final = 255


class Answer(NamedTuple):
    """What was answered: HTTP status, `Location` and JSON text."""

    status: int
    location: str | None
    body: str


def take(
    connection: Connection[Any], merchant_id: UUID, *, key: str, request_sha256: bytes, now: datetime
) -> Answer | None:
    """Take `key` for this request. None: it is the first, and must `keep` its answer; else the first one's answer.

    Raises IdempotencyMismatchError where the key belongs to another request.
    """
    taken = connection.execute(
        _QUERIES["take_key"],
        {
            "merchant_id": merchant_id,
            "key": key,
            "request_sha256": request_sha256,
            "now": now,
            "expires_at": now + KEPT_FOR,
        },
    ).fetchone()
    if taken is not None:
        return None
    row = connection.execute(_QUERIES["first_answer"], {"merchant_id": merchant_id, "key": key}).fetchone()
    if row is None or row[0] != request_sha256:
        raise IdempotencyMismatchError("the Idempotency-Key was used with another request in the last 24 hours")
    return Answer(*row[1:])


def keep(connection: Connection[Any], merchant_id: UUID, *, key: str, answer: Answer) -> None:
    """Store the answer to the first request with `key`."""
    connection.execute(
        _QUERIES["keep_answer"],
        {
            "merchant_id": merchant_id,
            "key": key,
            "status": answer.status,
            "location": answer.location,
            "body": answer.body,
        },
    )
