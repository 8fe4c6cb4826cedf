"""Columns as PostgreSQL's binary arrays, for `unnest`.

psycopg dumps a list element by element, and PostgreSQL reads an array's text letter by letter; of a thousand rows of
eighteen columns that is most of what storing them costs. The format is that of `array_recv`: dimensions, a flag for
nulls, the element's type, the length, the lower bound, then each element behind its length in bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from struct import Struct
from typing import Any, Final
from uuid import UUID

from psycopg import adapters, postgres
from psycopg.adapt import Dumper
from psycopg.pq import Format

from scheduler_core.domain.ids import milliseconds

_HEADER: Final = Struct(">iiIii").pack
_LENGTH: Final = Struct(">i").pack
_NULL: Final = _LENGTH(-1)
_SMALLINT, _INTEGER, _FLOAT, _MOMENT = (Struct(f">i{kind}").pack for kind in "hidq")
_UUID_LENGTH: Final = _LENGTH(16)
_UUID_LENGTH_HEX: Final = _UUID_LENGTH.hex()
EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""From which PostgreSQL counts microseconds."""
EPOCH_MS: Final = milliseconds(EPOCH)


@dataclass(frozen=True, slots=True)
class Array:
    """One parameter of a statement: the array type's oid, and what PostgreSQL receives."""

    oid: int
    data: bytes


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def get_key(self, obj: Array, format: Any) -> Any:  # noqa: A002, ARG002 - psycopg's signature
        return Array, obj.oid

    def upgrade(self, obj: Array, format: Any) -> "_ArrayDumper":  # noqa: A002, ARG002 - psycopg's signature
        dumper = _ArrayDumper(Array)
        dumper.oid = obj.oid
        return dumper

    def dump(self, obj: Array) -> bytes:
        return obj.data


adapters.register_dumper(Array, _ArrayDumper)


def ids(values: Sequence[UUID | None]) -> Array:
    """Ids or null."""
    elements = [_NULL if value is None else _UUID_LENGTH + value.int.to_bytes(16) for value in values]
    return _array("uuid", b"".join(elements), len(elements), has_nulls=_NULL in elements)


def hex_ids(values: Sequence[str]) -> Array:
    """Ids, each as its 32 hex digits."""
    elements = bytes.fromhex(_UUID_LENGTH_HEX + _UUID_LENGTH_HEX.join(values)) if values else b""
    return _array("uuid", elements, len(values), has_nulls=False)


def smallints(values: Sequence[int | None]) -> Array:
    """Whole numbers of 16 bits, or null."""
    return _column("int2", values, lambda value: _SMALLINT(2, value), often=True)


def integers(values: Sequence[int | None]) -> Array:
    """Whole numbers of 32 bits, or null."""
    return _column("int4", values, lambda value: _INTEGER(4, value), often=True)


def floats(values: Sequence[float | None]) -> Array:
    """Numbers of double precision, or null."""
    return _column("float8", values, lambda value: _FLOAT(8, value), often=True)


def moments(values: Sequence[datetime | None], *, often: bool = False) -> Array:
    """Times or null. One and the same time for many in a row is written out once, with `often` also where others lie
    between."""
    return _column("timestamptz", values, _moment, often=often)


def texts(values: Sequence[str | None]) -> Array:
    """Any text or null; the names of an enum too, which SQL casts."""
    return _column("text", values, _text)


def json_texts(values: Sequence[str | None]) -> Array:
    """JSON as text, or null."""
    return _column("json", values, _text)


def names(values: Sequence[str]) -> Array:
    """A few words over and over, such as those of an enum, which SQL casts."""
    return _column("text", values, _text, often=True)


def _column(element: str, values: Sequence[Any], encode: Callable[[Any], bytes], *, often: bool = False) -> Array:
    """`often`: the same few values come over and over, so that each is encoded once."""
    count = len(values)
    if count and values.count(values[0]) == count:  # so it is with most columns of a batch, and counting is nearly free
        one = _NULL if values[0] is None else encode(values[0])
        return _array(element, one * count, count, has_nulls=one is _NULL)
    if often:
        encoded = {value: _NULL if value is None else encode(value) for value in set(values)}
        elements = [encoded[value] for value in values]
    else:
        last, written, elements = None, _NULL, []
        for value in values:
            if value is not last:
                last, written = value, _NULL if value is None else encode(value)
            elements.append(written)
    return _array(element, b"".join(elements), count, has_nulls=_NULL in elements)


def _array(element: str, elements: bytes, count: int, *, has_nulls: bool) -> Array:
    kind = postgres.types[element]
    return Array(kind.array_oid, _HEADER(1, has_nulls, kind.oid, count, 1) + elements)


def _text(value: str) -> bytes:
    raw = value.encode()
    return _LENGTH(len(raw)) + raw


def _moment(value: datetime) -> bytes:
    since = value - EPOCH
    return _MOMENT(8, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
