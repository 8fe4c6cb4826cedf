"""Who asks: what the authorizer said about the key, and whether that is enough."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from api.faults import ForbiddenError, UnauthenticatedError


class Caller(NamedTuple):
    """The key's merchant, the key's id and what it may do."""

    merchant_id: UUID
    key_id: str
    permissions: frozenset[str]

    def needs(self, permission: str) -> None:
        """Raises ForbiddenError unless the key has `permission`."""
        if permission not in self.permissions:
            raise ForbiddenError(f"the key needs the permission {permission}")


def caller_of(event: Mapping[str, Any]) -> Caller:
    """The caller that the gateway vouches for. Raises UnauthenticatedError where it vouches for none."""
    authorizer = (event.get("requestContext") or {}).get("authorizer") or {}
    told = authorizer.get("lambda") or {}
    try:
        return Caller(UUID(told["merchant_id"]), str(told["key_id"]), frozenset(str(told["permissions"]).split()))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UnauthenticatedError("send an API key in the x-api-key header") from error
