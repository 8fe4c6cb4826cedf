"""What makes a fresh stack usable: the installation's key, a merchant and an API key, the same at every start."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from scheduler_core.clock import utc_now
from scheduler_core.domain.ids import ENTROPY_BYTES, uuid7
from scheduler_core.security import api_keys as keys
from scheduler_core.security.signing import merchant_secret, shown_secret
from scheduler_core.storage import api_keys, merchants
from scheduler_core.storage.database import Database, Role

MERCHANT = "demo"
ENVIRONMENT = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """The demo merchant, as its producer knows it."""

    merchant_id: UUID
    api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)


def signing_key(folder: Path) -> str:
    """The installation's key of this data folder, made at the first call."""
    return _kept(folder / "signing_key", lambda: secrets.token_urlsafe(48))


def prepare(database_url: str, folder: Path, installation_key: str) -> Demo:
    """See that the merchant and the key of this data folder are in the database."""
    plaintext = _kept(folder / "api_key", lambda: keys.generate(ENVIRONMENT, os.urandom(keys.ENTROPY_BYTES)).plaintext)
    parsed = keys.parse(plaintext)
    if parsed is None:
        raise ValueError(f"{folder / 'api_key'} holds no API key: remove it, and the next start makes another")
    database = Database(database_url, Role.WORKER)
    try:
        with database.transaction() as connection:
            now = utc_now()
            merchant = merchants.find_by_name(connection, MERCHANT) or merchants.create(
                connection, uuid7(now, os.urandom(ENTROPY_BYTES)), name=MERCHANT, now=now
            )
            if api_keys.find_across_merchants(connection, parsed.id) is None:
                api_keys.create(
                    connection,
                    merchant.id,
                    key_id=parsed.id,
                    environment=parsed.environment,
                    secret_sha256=parsed.secret_sha256,
                    name="demo",
                    permissions=keys.PERMISSIONS,
                    now=now,
                )
    finally:
        database.close()
    secret = merchant_secret(installation_key.encode(), merchant.id, merchant.signing_key_version)
    return Demo(merchant_id=merchant.id, api_key=plaintext, webhook_secret=shown_secret(secret))


def _kept(file: Path, make: Callable[[], str]) -> str:
    if not file.exists():
        written = file.with_suffix(".new")
        written.unlink(missing_ok=True)
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as fresh:
            fresh.write(make())
        written.rename(file)
    return file.read_text(encoding="utf-8").strip()
