"""Opaque cursors: where the next page starts, as base64url of a version and a key."""

import base64
import binascii
from typing import Final
from uuid import UUID

from api.faults import Fault, InvalidRequestError

MAX_CURSOR_CHARACTERS: Final = 64
_BY_ID: Final = b"\x01"
_BY_NUMBER: Final = b"\x02"
_NUMBER_BYTES: Final = 4


def cursor_of_id(identifier: UUID) -> str:
    """A page that starts before the resource with this id."""
    return _encode(_BY_ID + identifier.bytes)


def id_of_cursor(cursor: str) -> UUID:
    """Raises InvalidRequestError for anything that `cursor_of_id` did not make."""
    return UUID(bytes=_decode(cursor, _BY_ID, 16))


def cursor_of_number(number: int) -> str:
    """A page that starts after the entry with this number."""
    return _encode(_BY_NUMBER + number.to_bytes(_NUMBER_BYTES))


def number_of_cursor(cursor: str) -> int:
    """Raises InvalidRequestError for anything that `cursor_of_number` did not make."""
    return min(int.from_bytes(_decode(cursor, _BY_NUMBER, _NUMBER_BYTES)), 0x7FFF_FFFF)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(cursor: str, version: bytes, size: int) -> bytes:
    try:
        raw = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed() from error
    if len(raw) != 1 + size or raw[:1] != version:
        raise _malformed()
    return raw[1:]


def _malformed() -> InvalidRequestError:
    return InvalidRequestError(Fault("is not a cursor of this list: take next_cursor as it is", parameter="cursor"))
