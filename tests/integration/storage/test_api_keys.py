"""Keys in storage: made, found, used, revoked, rotated."""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from scheduler_core.domain.errors import NotFoundError
from scheduler_core.security.api_keys import ENTROPY_BYTES, NewApiKey, generate
from scheduler_core.storage import api_keys
from scheduler_core.storage.database import Database, Role
from tests.builders import NOW, seconds, store_merchant


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The database as the authorizer and the command line see it."""
    found = Database(database_url, Role.WORKER)
    yield found
    found.close()


@pytest.fixture
def merchant(database_url: str) -> UUID:
    return store_merchant(database_url)


def make(database: Database, merchant: UUID, **more: Any) -> NewApiKey:
    """A stored key."""
    new = generate("test", os.urandom(ENTROPY_BYTES))
    with database.transaction() as connection:
        api_keys.create(
            connection,
            merchant,
            key_id=new.id,
            environment=new.environment,
            secret_sha256=new.secret_sha256,
            name="ci",
            permissions=["jobs:read", "jobs:write"],
            now=NOW,
            **more,
        )
    return new


def test_a_stored_key_is_found_by_its_id_with_its_hash_only(database: Database, merchant: UUID) -> None:
    """I9."""
    new = make(database, merchant)
    with database.transaction() as connection:
        stored = api_keys.find_across_merchants(connection, new.id)
    assert stored is not None
    assert (stored.merchant_id, stored.secret_sha256, stored.usable) == (merchant, new.secret_sha256, True)
    assert new.plaintext.split("_")[3] not in repr(stored)


def test_an_unknown_id_finds_nothing(database: Database) -> None:
    with database.transaction() as connection:
        assert api_keys.find_across_merchants(connection, "0" * 12) is None


def test_a_revoked_key_is_not_usable_and_stays_revoked(database: Database, merchant: UUID) -> None:
    new = make(database, merchant)
    with database.transaction() as connection:
        first = api_keys.revoke(connection, merchant, new.id, NOW)
        again = api_keys.revoke(connection, merchant, new.id, NOW + seconds(60))
        stored = api_keys.find_across_merchants(connection, new.id)
    assert (first.revoked_at, again.revoked_at, first.active) == (NOW, NOW, False)
    assert stored is not None
    assert not stored.usable


def test_another_merchants_key_cannot_be_revoked(database: Database, merchant: UUID, database_url: str) -> None:
    """I7."""
    new = make(database, merchant)
    with pytest.raises(NotFoundError), database.transaction() as connection:
        api_keys.revoke(connection, store_merchant(database_url), new.id, NOW)


def test_a_use_is_noted_at_most_once_a_minute(database: Database, merchant: UUID) -> None:
    new = make(database, merchant)
    noted = []
    for after in (0, 30, 59, 60, 90, 121):
        with database.transaction() as connection:
            api_keys.note_use(connection, new.id, NOW + seconds(after))
            noted.append(api_keys.get(connection, merchant, new.id).last_used_at)
    assert [moment and (moment - NOW).total_seconds() for moment in noted] == [0, 0, 0, 60, 60, 121]


def test_a_rotation_gives_a_twin_and_ends_the_old_key_later(database: Database, merchant: UUID) -> None:
    old = make(database, merchant)
    new = generate("test", os.urandom(ENTROPY_BYTES))
    with database.transaction() as connection:
        made = api_keys.rotate(
            connection,
            merchant,
            old.id,
            key_id=new.id,
            secret_sha256=new.secret_sha256,
            now=NOW,
            old_expires_at=NOW + timedelta(hours=1),
        )
        ending = api_keys.get(connection, merchant, old.id)
        listed = api_keys.list_of_merchant(connection, merchant)
    assert (made.name, made.permissions, made.expires_at) == (ending.name, ending.permissions, None)
    assert ending.expires_at == NOW + timedelta(hours=1)
    assert {key.id for key in listed} == {old.id, new.id}


def test_a_rotation_prolongs_no_key(database: Database, merchant: UUID) -> None:
    old = make(database, merchant, expires_at=NOW + seconds(10))
    new = generate("test", os.urandom(ENTROPY_BYTES))
    with database.transaction() as connection:
        api_keys.rotate(
            connection,
            merchant,
            old.id,
            key_id=new.id,
            secret_sha256=new.secret_sha256,
            now=NOW,
            old_expires_at=NOW + timedelta(hours=1),
        )
        assert api_keys.get(connection, merchant, old.id).expires_at == NOW + seconds(10)


def test_a_revoked_key_cannot_be_rotated(database: Database, merchant: UUID) -> None:
    old = make(database, merchant)
    with database.transaction() as connection:
        api_keys.revoke(connection, merchant, old.id, NOW)
    with pytest.raises(NotFoundError), database.transaction() as connection:
        api_keys.rotate(
            connection, merchant, old.id, key_id="x" * 12, secret_sha256=bytes(32), now=NOW, old_expires_at=NOW
        )
