"""Ids are UUIDv7 (RFC 9562): their order is the order of creation, and the tables are partitioned by it."""

import hashlib
from datetime import UTC, datetime
from uuid import UUID

ENTROPY_BYTES = 10
_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_LOW = (1 << 62) - 1
_HIGH = 0xFFF << 62
_CHANCE = _HIGH | _LOW
"""The bits that chance decides: twelve between version and variant, and all below."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970, rounded down."""
    elapsed = moment - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000 + elapsed.microseconds // 1_000


def milliseconds_up(moment: datetime) -> int:
    """Whole milliseconds since 1970, rounded up: the first at which `moment` has come."""
    elapsed = moment - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000 + (elapsed.microseconds + 999) // 1_000


def from_milliseconds(value: int) -> datetime:
    """The moment that lies `value` milliseconds after 1970."""
    return datetime.fromtimestamp(value // 1_000, UTC).replace(microsecond=value % 1_000 * 1_000)


def uuid7(now: datetime, entropy: bytes) -> UUID:
    """A new id made at `now` from ten bytes of `entropy`, of which 74 bits are used."""
    return uuid7s(now, entropy[:ENTROPY_BYTES])[0]


def uuid7s(now: datetime, entropy: bytes) -> list[UUID]:
    """New ids made at `now`, ascending: one for each `ENTROPY_BYTES` of `entropy`."""
    start = (milliseconds(now) << 80) | _VERSION_7 | _VARIANT
    chances = [
        int.from_bytes(entropy[at : at + ENTROPY_BYTES], "big") & _CHANCE
        for at in range(0, len(entropy), ENTROPY_BYTES)
    ]
    chances.sort()
    return [UUID(int=start | ((chance & _HIGH) << 2) | (chance & _LOW)) for chance in chances]


def run_id(template_id: UUID, nominal_at: datetime) -> UUID:
    """The id of a template's run for one nominal time: always the same, so a second run of it cannot be stored (I5)."""
    digest = hashlib.sha256(template_id.bytes + milliseconds(nominal_at).to_bytes(8, "big")).digest()
    return uuid7(nominal_at, digest)


def lowest_id(moment: datetime) -> UUID:
    """The smallest id that can be made at `moment`: the bound of a partition."""
    return UUID(int=milliseconds(moment) << 80)


def made_at(identifier: UUID) -> datetime:
    """When a UUIDv7 was made, to the millisecond."""
    return from_milliseconds(identifier.int >> 80)
