"""The authorizer's handler against a real database: which keys open, and what happens when it cannot know."""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from authorizer import handler
from authorizer.handler import lambda_handler
from scheduler_core.clock import utc_now
from scheduler_core.domain.errors import DatabaseUnavailableError
from scheduler_core.security.api_keys import ENTROPY_BYTES, NewApiKey, generate
from tests.builders import rows, store_merchant
from tests.conftest import BreakablePostgres

DENIED = {"isAuthorized": False}
NO_SOURCES: list[Any] = [None, [], "nonsense"]


@pytest.fixture(autouse=True)
def environment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The authorizer's environment."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    handler.database.cache_clear()
    yield
    handler.database().close()
    handler.database.cache_clear()


@pytest.fixture
def merchant(database_url: str) -> UUID:
    return store_merchant(database_url)


def store_key(database_url: str, merchant: UUID, **columns: Any) -> NewApiKey:
    """A key in the database."""
    new = generate("test", os.urandom(ENTROPY_BYTES))
    values = {
        "id": new.id,
        "merchant_id": merchant,
        "name": "k",
        "environment": "test",
        "secret_sha256": new.secret_sha256,
        "permissions": ["jobs:read", "templates:write"],
        "created_at": utc_now(),
        **columns,
    }
    names, holes = ", ".join(values), ", ".join(["%s"] * len(values))
    rows(database_url, f"INSERT INTO api_keys ({names}) VALUES ({holes}) RETURNING id", *values.values())
    return new


def ask(key: str, **more: Any) -> dict[str, Any]:
    """What the authorizer says of a key, presented as the gateway does."""
    event = {
        "version": "2.0",
        "type": "REQUEST",
        "routeArn": "arn:aws:execute-api:eu-west-1:123456789012:api/$default/GET/jobs",
        "identitySource": [key],
        "routeKey": "GET /jobs",
        "rawPath": "/jobs",
        "headers": {"x-api-key": key},
        **more,
    }
    return lambda_handler(event, None)


def test_a_good_key_opens_with_its_merchant_and_permissions(database_url: str, merchant: UUID) -> None:
    key = store_key(database_url, merchant)
    assert ask(key.plaintext) == {
        "isAuthorized": True,
        "context": {"merchant_id": str(merchant), "key_id": key.id, "permissions": "jobs:read templates:write"},
    }


@pytest.mark.parametrize(
    "columns",
    [
        {"active": False},
        {"revoked_at": utc_now()},
        {"expires_at": utc_now() - timedelta(seconds=1)},
        {"environment": "other"},
        {"secret_sha256": bytes(32)},
    ],
    ids=["inactive", "revoked", "expired", "of another environment", "with another secret"],
)
def test_a_key_that_is_no_good_does_not_open(database_url: str, merchant: UUID, columns: dict[str, Any]) -> None:
    key = store_key(database_url, merchant, **columns)
    assert ask(key.plaintext) == DENIED


def test_a_key_that_expires_later_opens(database_url: str, merchant: UUID) -> None:
    key = store_key(database_url, merchant, expires_at=utc_now() + timedelta(hours=1))
    assert ask(key.plaintext)["isAuthorized"]


def test_a_key_of_an_inactive_merchant_does_not_open(database_url: str) -> None:
    key = store_key(database_url, store_merchant(database_url, active=False))
    assert ask(key.plaintext) == DENIED


def test_a_key_nobody_made_does_not_open() -> None:
    assert ask(generate("test", os.urandom(ENTROPY_BYTES)).plaintext) == DENIED


def test_a_mistyped_key_is_refused_without_asking_the_database(
    database_url: str, merchant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store_key(database_url, merchant).plaintext
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:9/nowhere")
    handler.database.cache_clear()
    for mistyped in (key[:-1], key + "a", key.swapcase(), key[:20] + key[21] + key[20] + key[22:], "", "x" * 10_000):
        assert ask(mistyped) == DENIED, mistyped


def test_the_key_is_read_from_the_headers_where_no_source_is_named(database_url: str, merchant: UUID) -> None:
    key = store_key(database_url, merchant).plaintext
    for headers in ({"x-api-key": key}, {"X-Api-Key": key}, {"X-API-KEY": key}):
        for source in NO_SOURCES:
            assert ask("", identitySource=source, headers=headers)["isAuthorized"]


@pytest.mark.parametrize("event", [{}, {"identitySource": [None], "headers": None}, {"headers": {"other": "x"}}])
def test_without_a_key_nothing_opens(event: dict[str, Any]) -> None:
    assert lambda_handler(event, None) == DENIED


def test_use_is_noted_once_in_a_minute(database_url: str, merchant: UUID) -> None:
    key = store_key(database_url, merchant)
    used = []
    for _ in range(3):
        ask(key.plaintext)
        used.append(rows(database_url, "SELECT last_used_at FROM api_keys")[0]["last_used_at"])
    assert used[0] is not None
    assert len(set(used)) == 1
    earlier = used[0] - timedelta(seconds=61)
    rows(database_url, "UPDATE api_keys SET last_used_at = %s RETURNING id", earlier)
    ask(key.plaintext)
    assert rows(database_url, "SELECT last_used_at FROM api_keys")[0]["last_used_at"] > earlier


def test_a_denied_key_is_not_noted_as_used(database_url: str, merchant: UUID) -> None:
    key = store_key(database_url, merchant, active=False)
    ask(key.plaintext)
    assert rows(database_url, "SELECT last_used_at FROM api_keys") == [{"last_used_at": None}]


def test_with_the_database_away_nobody_is_let_in_and_nothing_is_said_of_the_key(
    postgres: BreakablePostgres, merchant: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    """An error is not cached by the gateway, a denial would be."""
    key = store_key(postgres.url, merchant)
    postgres.stop()
    with pytest.raises(DatabaseUnavailableError):
        ask(key.plaintext)
    assert len(caplog.records) == 1
    assert key.plaintext not in str(vars(caplog.records[0]))
    postgres.start()
    assert ask(key.plaintext)["isAuthorized"]
