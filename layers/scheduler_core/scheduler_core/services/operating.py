"""What operators do about merchants and keys: commands by name, with arguments and answers as JSON has them.

The command line runs them on a database that it reaches; where only functions reach it, the migrator runs them.
Each change is written to the audit log in the same transaction. Secrets are answered, once, and logged nowhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from psycopg import Connection
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scheduler_core.domain.errors import NotFoundError, SchedulerError
from scheduler_core.domain.ids import ENTROPY_BYTES, uuid7
from scheduler_core.security import api_keys as secrets
from scheduler_core.security.signing import ROTATION_OVERLAP, merchant_secret, shown_secret
from scheduler_core.storage import api_keys, audit, merchants
from scheduler_core.storage.api_keys import ApiKey
from scheduler_core.storage.merchants import Merchant

Answer = dict[str, Any]
Permission = Literal["jobs:read", "jobs:write", "templates:read", "templates:write"]
Seconds = Annotated[float, Field(ge=0, le=366 * 100 * 86_400)]


class OperationRefusedError(SchedulerError):
    """The command or its arguments are not understood."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with: one transaction as Role.WORKER, the time, chance, and the installation's key."""

    connection: Connection[Any]
    now: datetime
    random: Callable[[int], bytes]
    installation_key: Callable[[], bytes]


class _Arguments(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class CreateMerchant(_Arguments):
    """A merchant; None: no limit."""

    name: str = Field(min_length=1, max_length=200)
    weight: int = Field(default=1, ge=1, le=100)
    max_concurrency: int | None = Field(default=None, ge=1)
    rate_limit_per_second: int | None = Field(default=None, ge=1)
    allowed_target_arns: tuple[str, ...] = ()


class ListMerchants(_Arguments):
    """A page of merchants, those made after one (id or name)."""

    limit: int = Field(default=100, ge=1, le=1_000)
    after: str | None = None


class SigningSecret(_Arguments):
    """The webhook secret of a merchant (id or name); `rotate` takes the next one into use."""

    merchant: str
    rotate: bool = False


class CreateKey(_Arguments):
    """A key of a merchant (id or name); without permissions it may do everything."""

    merchant: str
    name: str = Field(default="default", min_length=1, max_length=200)
    permissions: tuple[Permission, ...] = ()
    expires_in_seconds: Seconds | None = None
    environment: str = "live"


class ListKeys(_Arguments):
    """The keys of a merchant (id or name)."""

    merchant: str


class RevokeKey(_Arguments):
    """The key with this id, or the whole key."""

    key: str


class RotateKey(_Arguments):
    """The key with this id, or the whole key; it goes on working for `overlap_seconds`."""

    key: str
    overlap_seconds: Seconds = 86_400


def operate(command: str, arguments: Mapping[str, Any], desk: Desk) -> Answer:
    """Do `command`, such as `keys.create`. Raises OperationRefusedError, NotFoundError, ConflictError."""
    found = COMMANDS.get(command)
    if found is None:
        raise OperationRefusedError(f"{command!r} is none of {', '.join(sorted(COMMANDS))}")
    kind, act = found
    try:
        told = kind.model_validate(dict(arguments))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise OperationRefusedError(faults) from None
    return act(told, desk)


def _create_merchant(told: CreateMerchant, desk: Desk) -> Answer:
    made = merchants.create(
        desk.connection, uuid7(desk.now, desk.random(ENTROPY_BYTES)), now=desk.now, **told.model_dump()
    )
    _note(desk, made.id, "merchant.created", f"/merchants/{made.id}")
    secret = merchant_secret(desk.installation_key(), made.id, made.signing_key_version)
    return {**_public_merchant(made), "signing_secret": shown_secret(secret)}


def _list_merchants(told: ListMerchants, desk: Desk) -> Answer:
    after = None if told.after is None else _merchant(desk.connection, told.after).id
    found = merchants.list_page(desk.connection, after=after, limit=told.limit)
    return {"items": [_public_merchant(each) for each in found]}


def _signing_secret(told: SigningSecret, desk: Desk) -> Answer:
    found = _merchant(desk.connection, told.merchant)
    if told.rotate:
        found = merchants.rotate_signing_key(desk.connection, found.id, desk.now)
        _note(desk, found.id, "signing_secret.rotated", f"/merchants/{found.id}")
    version, rotated_at = found.signing_key_version, found.signing_key_rotated_at
    until = None if rotated_at is None or version == 1 else rotated_at + ROTATION_OVERLAP
    return {
        "merchant_id": str(found.id),
        "version": version,
        "signing_secret": shown_secret(merchant_secret(desk.installation_key(), found.id, version)),
        "previous_valid_until": _rfc3339(until) if until is not None and desk.now < until else None,
    }


def _create_key(told: CreateKey, desk: Desk) -> Answer:
    try:
        key = secrets.generate(told.environment, desk.random(secrets.ENTROPY_BYTES))
    except ValueError as error:
        raise OperationRefusedError(f"environment: {error}") from None
    expires_in = told.expires_in_seconds
    owner = _merchant(desk.connection, told.merchant)
    stored = api_keys.create(
        desk.connection,
        owner.id,
        key_id=key.id,
        environment=key.environment,
        secret_sha256=key.secret_sha256,
        name=told.name,
        permissions=told.permissions or sorted(secrets.PERMISSIONS),
        now=desk.now,
        expires_at=None if expires_in is None else desk.now + timedelta(seconds=expires_in),
    )
    _note(desk, owner.id, "key.created", f"/keys/{key.id}")
    return {**_public_key(stored, desk.now), "key": key.plaintext}


def _list_keys(told: ListKeys, desk: Desk) -> Answer:
    found = api_keys.list_of_merchant(desk.connection, _merchant(desk.connection, told.merchant).id)
    return {"items": [_public_key(each, desk.now) for each in found]}


def _revoke_key(told: RevokeKey, desk: Desk) -> Answer:
    stored = _key(desk.connection, told.key)
    ended = api_keys.revoke(desk.connection, stored.merchant_id, stored.id, desk.now)
    _note(desk, stored.merchant_id, "key.revoked", f"/keys/{stored.id}")
    return _public_key(ended, desk.now)


def _rotate_key(told: RotateKey, desk: Desk) -> Answer:
    old = _key(desk.connection, told.key)
    fresh = secrets.generate(old.environment, desk.random(secrets.ENTROPY_BYTES))
    stored = api_keys.rotate(
        desk.connection,
        old.merchant_id,
        old.id,
        key_id=fresh.id,
        secret_sha256=fresh.secret_sha256,
        now=desk.now,
        old_expires_at=desk.now + timedelta(seconds=told.overlap_seconds),
    )
    _note(desk, old.merchant_id, "key.rotated", f"/keys/{old.id}")
    ending = api_keys.get(desk.connection, old.merchant_id, old.id)
    return {
        **_public_key(stored, desk.now),
        "key": fresh.plaintext,
        "replaces": _public_key(ending, desk.now),
    }


COMMANDS: Final[dict[str, tuple[type[_Arguments], Callable[[Any, Desk], Answer]]]] = {
    "keys.create": (CreateKey, _create_key),
    "keys.list": (ListKeys, _list_keys),
    "keys.revoke": (RevokeKey, _revoke_key),
    "keys.rotate": (RotateKey, _rotate_key),
    "merchants.create": (CreateMerchant, _create_merchant),
    "merchants.list": (ListMerchants, _list_merchants),
    "merchants.signing_secret": (SigningSecret, _signing_secret),
}


def _merchant(connection: Connection[Any], name_or_id: str) -> Merchant:
    try:
        return merchants.get(connection, UUID(name_or_id))
    except ValueError:
        found = merchants.find_by_name(connection, name_or_id)
    if found is None:
        raise NotFoundError(f"no merchant is named {name_or_id!r}; `scheduler merchants list` names them")
    return found


def _key(connection: Connection[Any], key_id: str) -> ApiKey:
    """The key with this id, or with this id inside a whole key `ts_<environment>_<id>_...`."""
    bare = key_id.split("_")[2] if key_id.startswith("ts_") and key_id.count("_") >= 3 else key_id
    stored = api_keys.find_across_merchants(connection, bare)
    if stored is None:
        raise NotFoundError(f"no key has the id {bare}; `scheduler keys list` shows them")
    return api_keys.get(connection, stored.merchant_id, bare)


def _note(desk: Desk, merchant_id: UUID, action: str, resource: str) -> None:
    audit.record(
        desk.connection,
        merchant_id,
        entry_id=uuid7(desk.now, desk.random(ENTROPY_BYTES)),
        actor="operator",
        action=action,
        resource=resource,
        now=desk.now,
    )


def _public_merchant(merchant: Merchant) -> Answer:
    return {
        "id": str(merchant.id),
        "name": merchant.name,
        "active": merchant.active,
        "weight": merchant.weight,
        "max_concurrency": merchant.max_concurrency,
        "rate_limit_per_second": merchant.rate_limit_per_second,
        "allowed_target_arns": merchant.allowed_target_arns,
        "created_at": _rfc3339(merchant.created_at),
    }


def _public_key(key: ApiKey, now: datetime) -> Answer:
    moments = ("expires_at", "last_used_at", "created_at", "revoked_at")
    return {
        "id": key.id,
        "merchant_id": str(key.merchant_id),
        "name": key.name,
        "environment": key.environment,
        "permissions": list(key.permissions),
        "state": _state(key, now),
        **{each: None if (at := getattr(key, each)) is None else _rfc3339(at) for each in moments},
    }


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None or not key.active:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
