"""Columns as PostgreSQL's binary arrays, for `unnest`.

psycopg dumps a list element by element, and PostgreSQL reads an array's text letter by letter; of a thousand rows of
eighteen columns that is most of what storing them costs. The format is that of `array_recv`: dimensions, a flag for
nulls, the element's type, the length, the lower bound, then each element behind its length in bytes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from struct import Struct
from typing import Any, Final
from uuid import UUID

from psycopg import adapters, postgres
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEADER: Final = Struct(">iiIii").pack
_LENGTH: Final = Struct(">i").pack
_NULL: Final = _LENGTH(-1)
_SMALLINT, _INTEGER, _FLOAT, _MOMENT = (Struct(f">i{kind}").pack for kind in "hidq")
_UUID_LENGTH: Final = _LENGTH(16)
_UUID_LENGTH_HEX: Final = _UUID_LENGTH.hex()
_POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


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


def ids(values: Iterable[UUID | None]) -> Array:
    """Ids or null."""
    return _array("uuid", [_NULL if value is None else _UUID_LENGTH + value.bytes for value in values])


def hex_ids(values: Sequence[str]) -> Array:
    """Ids, each as its 32 hex digits."""
    elements = bytes.fromhex(_UUID_LENGTH_HEX + _UUID_LENGTH_HEX.join(values)) if values else b""
    return _array("uuid", [elements], len(values))


def smallints(values: Sequence[int | None]) -> Array:
    """Whole numbers of 16 bits, or null."""
    return _array("int2", _each(values, lambda value: _SMALLINT(2, value)))


def integers(values: Sequence[int | None]) -> Array:
    """Whole numbers of 32 bits, or null."""
    return _array("int4", _each(values, lambda value: _INTEGER(4, value)))


def floats(values: Sequence[float | None]) -> Array:
    """Numbers of double precision, or null."""
    return _array("float8", _each(values, lambda value: _FLOAT(8, value)))


def moments(values: Iterable[datetime | None]) -> Array:
    """Times or null. One and the same time for many in a row is written out once."""
    last, written, elements = None, _NULL, []
    for value in values:
        if value is not last:
            last, written = value, _NULL if value is None else _moment(value)
        elements.append(written)
    return _array("timestamptz", elements)


def texts(values: Iterable[str | None]) -> Array:
    """Any text or null; the names of an enum too, which SQL casts."""
    return _array("text", _of_texts(values))


def json_texts(values: Iterable[str | None]) -> Array:
    """JSON as text, or null."""
    return _array("json", _of_texts(values))


def names(values: Sequence[str]) -> Array:
    """A few words over and over, such as those of an enum, which SQL casts."""
    return _array("text", _each(values, lambda value: _of_texts([value])[0]))


def _array(element: str, elements: list[bytes], count: int | None = None) -> Array:
    kind = postgres.types[element]
    count = len(elements) if count is None else count
    header = _HEADER(1, _NULL in elements, kind.oid, count, 1)
    return Array(kind.array_oid, b"".join([header, *elements]))


def _each(values: Sequence[Any], encode: Callable[[Any], bytes]) -> list[bytes]:
    """Columns of numbers and names hold the same few values over and over: each is encoded once."""
    encoded = {value: _NULL if value is None else encode(value) for value in set(values)}
    return [encoded[value] for value in values]


def _of_texts(values: Iterable[str | None]) -> list[bytes]:
    raw = [None if value is None else value.encode() for value in values]
    return [_NULL if value is None else _LENGTH(len(value)) + value for value in raw]


def _moment(value: datetime) -> bytes:
    since = value - _POSTGRES_EPOCH
    return _MOMENT(8, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
