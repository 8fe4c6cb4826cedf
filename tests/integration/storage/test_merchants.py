"""Merchants in storage."""

from collections.abc import Iterator

import pytest

from scheduler_core.domain.errors import ConflictError, NotFoundError
from scheduler_core.storage import merchants
from scheduler_core.storage.database import Database, Role
from tests.builders import NOW, new_id, seconds


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The database as the command line sees it."""
    found = Database(database_url, Role.WORKER)
    yield found
    found.close()


def test_a_merchant_is_made_and_found_again(database: Database) -> None:
    with database.transaction() as connection:
        made = merchants.create(connection, new_id(), name="acme", now=NOW, weight=5, max_concurrency=10)
        assert merchants.get(connection, made.id) == made
        assert merchants.find_by_name(connection, "acme") == made
        assert merchants.find_by_name(connection, "other") is None
    assert (made.active, made.rate_limit_per_second, made.allowed_target_arns) == (True, None, [])


def test_a_name_is_taken_once(database: Database) -> None:
    with database.transaction() as connection:
        merchants.create(connection, new_id(), name="acme", now=NOW)
    with pytest.raises(ConflictError), database.transaction() as connection:
        merchants.create(connection, new_id(), name="acme", now=NOW)


def test_merchants_are_listed_in_pages_in_order_of_creation(database: Database) -> None:
    with database.transaction() as connection:
        made = [merchants.create(connection, new_id(NOW + seconds(n)), name=f"m{n}", now=NOW) for n in range(5)]
        first = merchants.list_page(connection, limit=3)
        second = merchants.list_page(connection, after=first[-1].id, limit=3)
    assert [*first, *second] == made


def test_rotating_the_signing_key_counts_up_and_says_when(database: Database) -> None:
    with database.transaction() as connection:
        made = merchants.create(connection, new_id(), name="acme", now=NOW)
        rotated = merchants.rotate_signing_key(connection, made.id, NOW + seconds(5))
    assert (rotated.signing_key_version, rotated.signing_key_rotated_at) == (2, NOW + seconds(5))


def test_an_unknown_merchant_is_not_found(database: Database) -> None:
    with database.transaction() as connection:
        assert merchants.target_arns_allowed(connection, new_id()) == []
        with pytest.raises(NotFoundError):
            merchants.get(connection, new_id())
        with pytest.raises(NotFoundError):
            merchants.rotate_signing_key(connection, new_id(), NOW)
