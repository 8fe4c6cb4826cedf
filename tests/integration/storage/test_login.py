"""Passwords that are kept as secrets, and change while we run."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from scheduler_core.domain.errors import DatabaseUnavailableError
from scheduler_core.settings import DatabaseSettings
from scheduler_core.storage import health
from scheduler_core.storage.database import Database, Role
from tests.secret_store import AWKWARD, DatabaseUser, SecretStore, database_user


@pytest.fixture
def user(database_url: str) -> Iterator[DatabaseUser]:
    with database_user(database_url, AWKWARD) as user:
        yield user


@pytest.fixture(autouse=True)
def environment(secret_store: SecretStore, user: DatabaseUser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for name, value in user.place().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", secret_store.url)


def database(arn: str, **more: Any) -> Database:
    return Database.connect(DatabaseSettings(database_secret_arn=arn, **more), Role.WORKER)


def answers(database: Database) -> bool:
    with database.transaction() as connection:
        health.ping(connection)
    return True


def test_any_password_logs_in(secret_store: SecretStore, user: DatabaseUser) -> None:
    one = database(secret_store.keep(user.as_rds(AWKWARD)))
    assert answers(one)
    one.close()


def test_a_password_that_was_changed_needs_no_restart(secret_store: SecretStore, user: DatabaseUser) -> None:
    arn = secret_store.keep(user.as_rds(AWKWARD))
    one, other = database(arn), database(arn)
    assert answers(one)
    user.set_password("rotated")
    secret_store.change(arn, user.as_rds("rotated"))
    assert answers(one), "a connection that is open stays so"
    assert answers(other)
    user.hang_up()
    assert answers(one)
    assert answers(other)
    one.close()
    other.close()


def test_a_database_that_changes_its_password_before_the_secret_says_so_is_away_for_as_long(
    secret_store: SecretStore, user: DatabaseUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler_core.kept_secrets.PAUSE_SECONDS", 0.0)
    arn = secret_store.keep(user.as_rds("wrong"))
    one = database(arn)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailableError) as error:
            answers(one)
        assert "password authentication failed" in repr(error.value.__cause__)
        assert "wrong" not in repr(error.value.__cause__)
    secret_store.change(arn, user.as_rds(AWKWARD))
    assert answers(one)
    one.close()


def test_a_secret_that_lacks_something_is_told_and_may_be_mended(
    secret_store: SecretStore, user: DatabaseUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler_core.kept_secrets.PAUSE_SECONDS", 0.0)
    arn = secret_store.keep(json.dumps({"username": user.name}))
    one = database(arn)
    with pytest.raises(DatabaseUnavailableError) as error:
        answers(one)
    assert str(error.value.__cause__) == f"{arn}: it lacks password"
    secret_store.change(arn, user.as_rds(AWKWARD))
    assert answers(one)
    one.close()


def test_a_connection_made_with_a_secret_is_encrypted_unless_somebody_says_otherwise(
    secret_store: SecretStore, user: DatabaseUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_SSLMODE")
    with pytest.raises(DatabaseUnavailableError) as error:
        answers(database(secret_store.keep(user.as_rds(AWKWARD))))
    assert "server does not support SSL, but SSL was required" in str(error.value.__cause__)


def test_a_url_that_was_given_goes_before_a_secret(database_url: str) -> None:
    one = database("arn:of:nothing", database_url=database_url)
    assert answers(one)
    one.close()


def test_a_session_is_named_after_its_function(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    for function, name in {"": "task-scheduler", "watcher": "task-scheduler watcher"}.items():
        monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", function)
        with closing(Database.connect(DatabaseSettings(), None)) as database, database.statement() as connection:
            assert connection.execute("SHOW application_name").fetchone() == (name,)
