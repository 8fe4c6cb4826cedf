"""Who asks: what the authorizer said about the key, and whether that is enough."""

from collections.abc import Mapping
from functools import lru_cache
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


@lru_cache(maxsize=1_024)
def _id_of(text: str) -> UUID:
    return UUID(text)


@lru_cache(maxsize=128)
def _permissions_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


def caller_of(event: Mapping[str, Any]) -> Caller:
    """The caller that the gateway vouches for. Raises UnauthenticatedError where it vouches for none."""
    authorizer = (event.get("requestContext") or {}).get("authorizer") or {}
    told = authorizer.get("lambda") or {}
    try:
        return Caller(_id_of(told["merchant_id"]), str(told["key_id"]), _permissions_of(str(told["permissions"])))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UnauthenticatedError("send an API key in the x-api-key header") from error
