"""Ids are UUIDv7 (RFC 9562): their order is the order of creation, and the tables are partitioned by it."""

import hashlib
from datetime import UTC, datetime
from struct import Struct
from uuid import UUID

ENTROPY_BYTES = 10
_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_LOW = (1 << 62) - 1
_HIGH = 0xFFF << 62
"""With `_LOW` the bits that chance decides: these twelve move up, between version and variant."""
_GROUPS = Struct("8s4s4s4s12s").unpack
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
    chance = int.from_bytes(entropy[:ENTROPY_BYTES], "big")
    start = (milliseconds(now) << 80) | _VERSION_7 | _VARIANT
    return UUID(int=start | ((chance & _HIGH) << 2) | (chance & _LOW))


def uuid7_hexes(now: datetime, entropy: bytes) -> list[str]:
    """New ids made at `now`, 32 hex digits each, ascending: one for each `ENTROPY_BYTES` of `entropy`.

    A UUID object takes several times as long to make, and of a batch hardly any is needed.
    """
    count = len(entropy) // ENTROPY_BYTES

    def of_each(bits: int) -> int:
        return int.from_bytes(bits.to_bytes(ENTROPY_BYTES, "big") * count, "big")

    # All at once, as one large number: of every id what `uuid7` does, but for the time, which is the same.
    chances = int.from_bytes(entropy, "big")
    made = of_each(_VERSION_7 | _VARIANT) | ((chances & of_each(_HIGH)) << 2) | (chances & of_each(_LOW))
    digits, time, each = made.to_bytes(len(entropy), "big").hex(), f"{milliseconds(now):012x}", 2 * ENTROPY_BYTES
    return sorted(time + digits[at : at + each] for at in range(0, len(digits), each))


def hyphenated(digits: bytes) -> bytes:
    """An id of 32 hex digits as it is written: in groups, with hyphens."""
    return b"-".join(_GROUPS(digits))


def text_of_hex(digits: str) -> str:
    """The same of text."""
    return hyphenated(digits.encode()).decode()


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
