"""Signatures by the Standard Webhooks specification: `v1,<base64 HMAC-SHA256 of "{id}.{timestamp}.{body}">`.

A merchant's secret is derived from the installation's key, so none is stored and a restored backup gives none away.
"""

import hmac
from base64 import b64encode
from binascii import b2a_base64
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

ROTATION_OVERLAP: Final = timedelta(hours=24)
"""How long after a rotation deliveries carry the previous secret's signature too."""
_PURPOSE: Final = b"task-scheduler webhook secret"
_BLOCK: Final = 64
_PADS: Final = tuple(bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


def merchant_secret(installation_key: bytes, merchant_id: UUID, version: int) -> bytes:
    """The merchant's webhook secret number `version`: 32 bytes, the same whenever it is asked for."""
    return hmac.digest(installation_key, _PURPOSE + merchant_id.bytes + version.to_bytes(4, "big"), "sha256")


def shown_secret(secret: bytes) -> str:
    """The form in which a receiver's library takes a secret: `whsec_<base64>`."""
    return "whsec_" + b64encode(secret).decode()


def signing_secrets(
    installation_key: bytes, merchant_id: UUID, version: int, rotated_at: datetime | None, now: datetime
) -> tuple[bytes, ...]:
    """The secrets to sign with at `now`: the current one first, then for 24 h after a rotation the one before."""
    versions = [version]
    if version > 1 and rotated_at is not None and now < rotated_at + ROTATION_OVERLAP:
        versions.append(version - 1)
    return tuple(merchant_secret(installation_key, merchant_id, number) for number in versions)


class Signer:
    """One secret, ready to sign: both hashes of an HMAC (RFC 2104) have the key in them already.

    They are copied for each message, which takes half as long as to copy an `hmac.HMAC`.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        key = secret if len(secret) <= _BLOCK else sha256(secret).digest()
        self._inner, self._outer = (sha256(key.ljust(_BLOCK, b"\0").translate(pad)) for pad in _PADS)

    def sign(self, message: bytes) -> bytes:
        """`v1,<base64>` for `message`, the bytes `{id}.{timestamp}.{body}`."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return b"v1," + b2a_base64(outer.digest(), newline=False)
