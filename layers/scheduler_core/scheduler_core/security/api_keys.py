"""API keys: `ts_<environment>_<key id>_<secret><checksum>`, base62 throughout.

The key id (12 characters) finds the stored key; the secret (32 characters, 190 bits) proves it and is stored only as
its SHA-256; the checksum (6 characters, CRC-32 of all before it) tells a mistyped key without asking the database.
A fast hash is enough here: a random secret of 190 bits cannot be guessed, unlike a password.
"""

import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass, field
from typing import Final

KEY_ID_CHARACTERS: Final = 12
SECRET_CHARACTERS: Final = 32
CHECKSUM_CHARACTERS: Final = 6
MAX_KEY_CHARACTERS: Final = 128
ENTROPY_BYTES: Final = 48
"""16 bytes for the key id and 32 for the secret: far more than they hold, so that the remainder is even."""
PERMISSIONS: Final = ("jobs:read", "jobs:write", "templates:read", "templates:write")

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ENVIRONMENT: Final = re.compile(r"[a-z][a-z0-9]{0,15}")
_KEY: Final = re.compile(
    r"(?P<checked>ts_(?P<environment>[a-z][a-z0-9]{0,15})_(?P<id>[0-9A-Za-z]{12})_(?P<secret>[0-9A-Za-z]{32,64}))"
    r"(?P<checksum>[0-9A-Za-z]{6})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """A key just made. `plaintext` is shown once and never stored."""

    id: str
    environment: str
    plaintext: str = field(repr=False)
    secret_sha256: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedKey:
    """A well-formed key as presented; nothing is said yet about whether it exists."""

    id: str
    environment: str
    secret_sha256: bytes = field(repr=False)


def generate(environment: str, entropy: bytes) -> NewApiKey:
    """A new key for `environment` (1-16 lower-case letters and digits, letter first) from `ENTROPY_BYTES` random bytes.

    Raises ValueError for another environment name or too little entropy.
    """
    if not _ENVIRONMENT.fullmatch(environment):
        raise ValueError("an environment is 1-16 lower-case letters and digits, a letter first")
    if len(entropy) < ENTROPY_BYTES:
        raise ValueError(f"a key needs {ENTROPY_BYTES} random bytes")
    key_id = _base62(int.from_bytes(entropy[:16]), KEY_ID_CHARACTERS)
    secret = _base62(int.from_bytes(entropy[16:ENTROPY_BYTES]), SECRET_CHARACTERS)
    checked = f"ts_{environment}_{key_id}_{secret}"
    return NewApiKey(
        id=key_id,
        environment=environment,
        plaintext=checked + _checksum(checked),
        secret_sha256=_sha256(secret),
    )


def parse(presented: str) -> ParsedKey | None:
    """The parts of a presented key; None where its form or its checksum is wrong."""
    if len(presented) > MAX_KEY_CHARACTERS:
        return None
    match = _KEY.fullmatch(presented)
    if match is None or not hmac.compare_digest(match["checksum"], _checksum(match["checked"])):
        return None
    return ParsedKey(id=match["id"], environment=match["environment"], secret_sha256=_sha256(match["secret"]))


def proves(presented: ParsedKey, stored_sha256: bytes) -> bool:
    """Whether the presented secret is the stored one, in constant time."""
    return hmac.compare_digest(presented.secret_sha256, stored_sha256)


def _sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()


def _checksum(checked: str) -> str:
    return _base62(zlib.crc32(checked.encode("ascii")), CHECKSUM_CHARACTERS)


def _base62(number: int, characters: int) -> str:
    digits = []
    for _ in range(characters):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
