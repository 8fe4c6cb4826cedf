"""The authorizer function: one `x-api-key` in, a simple response (payload format 2.0) out, which the gateway caches.

A denial is a statement about the key. Where something of ours is broken nothing is said about the key: the error is
raised, so the gateway answers 500 and caches nothing, and nobody is let in.
"""

from functools import cache
from typing import Any

from pydantic import Field

from authorizer.deciding import Grant, decide
from scheduler_core.clock import utc_now
from scheduler_core.observability.log import logger
from scheduler_core.settings import DatabaseSettings, ObservabilitySettings
from scheduler_core.storage.database import Database, Role


class AuthorizerSettings(DatabaseSettings, ObservabilitySettings):
    """What the authorizer needs to know."""

    database_statement_timeout_seconds: float = Field(default=2.0, gt=0, le=300)
    """A database that hangs is given up after twice as long, and the function's own time is 5 s."""


@cache
def database() -> Database:
    """PostgreSQL as the role that may read keys."""
    return Database.connect(AuthorizerSettings(), Role.WORKER)


def lambda_handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Decide about one key."""
    try:
        grant = decide(database(), presented_key(event), utc_now())
    except Exception as error:
        logger.error("a key could not be judged", extra={"cause": repr(error.__cause__ or error)})
        raise
    return {"isAuthorized": False} if grant is None else {"isAuthorized": True, "context": _context_of(grant)}


def presented_key(event: dict[str, Any]) -> str:
    """The key as presented; empty where there is none. The gateway says it first in `identitySource`."""
    sources = event.get("identitySource")
    if isinstance(sources, list) and sources and isinstance(sources[0], str):
        return sources[0]
    headers = event.get("headers") or {}
    return next((str(value) for name, value in headers.items() if name.lower() == "x-api-key"), "")


def _context_of(grant: Grant) -> dict[str, str]:
    return {
        "merchant_id": str(grant.merchant_id),
        "key_id": grant.key_id,
        "permissions": " ".join(grant.permissions),
    }
