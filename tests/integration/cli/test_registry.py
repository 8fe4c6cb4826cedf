"""Merchants, keys and migrations, straight in the database."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from typer.testing import CliRunner, Result

from cli.main import app
from scheduler_core.clock import utc_now
from scheduler_core.security import api_keys
from scheduler_core.security.signing import merchant_secret, shown_secret

SIGNING_KEY = "a signing key that is made up for tests"
Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str) -> Run:
    runner = CliRunner(env={"DATABASE_URL": database_url, "SIGNING_KEY": SIGNING_KEY, "COLUMNS": "80"})

    def command(*args: str) -> Result:
        return runner.invoke(app, list(args))

    return command


def told(answer: Result) -> Any:
    assert answer.exit_code == 0, answer.stderr
    return json.loads(answer.stdout)


def test_a_merchant_is_made_with_its_limits_and_its_signing_secret(run: Run) -> None:
    made = told(
        run(
            "merchants", "create", "acme", "--weight", "3", "--max-concurrency", "10", "--rate-limit", "100",
            "--allowed-target-arn", "arn:aws:sqs:*:*:acme-*", "--json",
        )
    )  # fmt: skip
    assert made["signing_secret"] == shown_secret(merchant_secret(SIGNING_KEY.encode(), UUID(made["id"]), 1))
    listed = told(run("merchants", "list", "--json"))["items"]
    assert [
        (each["name"], each["weight"], each["max_concurrency"], each["rate_limit_per_second"]) for each in listed
    ] == [("acme", 3, 10, 100)]
    assert listed[0]["allowed_target_arns"] == ["arn:aws:sqs:*:*:acme-*"]


def test_a_second_merchant_of_the_same_name_is_a_conflict(run: Run) -> None:
    told(run("merchants", "create", "acme", "--json"))
    assert run("merchants", "create", "acme").exit_code == 4


def test_a_signing_secret_rotates_and_the_old_one_goes_on_for_a_day(run: Run) -> None:
    made = told(run("merchants", "create", "acme", "--json"))
    rotated = told(run("merchants", "signing-secret", "acme", "--rotate", "--json"))
    assert rotated["version"] == 2
    assert rotated["signing_secret"] != made["signing_secret"]
    ahead = datetime.fromisoformat(rotated["previous_valid_until"]) - utc_now()
    assert timedelta(hours=23) < ahead <= timedelta(hours=24)
    assert told(run("merchants", "signing-secret", made["id"], "--json")) == rotated


def test_a_key_is_shown_once_and_stored_as_a_hash(run: Run, database_url: str) -> None:
    """I9: what is stored cannot be turned back into the key."""
    told(run("merchants", "create", "acme", "--json"))
    made = told(run("keys", "create", "acme", "--permission", "jobs:read", "--environment", "test", "--json"))
    parsed = api_keys.parse(made["key"])
    assert parsed is not None
    assert made["key"].startswith("ts_test_")
    secret = made["key"].split("_")[3]
    with psycopg.connect(database_url) as connection:
        row = connection.execute(sql.SQL("SELECT to_json(k)::text, secret_sha256 FROM api_keys k")).fetchone()
    assert row is not None
    assert secret not in row[0]
    assert row[1] == parsed.secret_sha256
    listed = run("keys", "list", "acme", "--json")
    assert secret not in listed.stdout
    assert told(listed)["items"][0]["permissions"] == ["jobs:read"]


def test_a_key_may_do_everything_unless_told_otherwise(run: Run) -> None:
    told(run("merchants", "create", "acme", "--json"))
    made = told(run("keys", "create", "acme", "--expires-in", "90d", "--json"))
    assert set(made["permissions"]) == set(api_keys.PERMISSIONS)
    ahead = datetime.fromisoformat(made["expires_at"]) - utc_now()
    assert timedelta(days=89) < ahead <= timedelta(days=90)


def test_a_revoked_key_is_listed_as_revoked(run: Run) -> None:
    told(run("merchants", "create", "acme", "--json"))
    made = told(run("keys", "create", "acme", "--json"))
    assert told(run("keys", "revoke", made["key"], "--json"))["state"] == "revoked"
    assert told(run("keys", "list", "acme", "--json"))["items"][0]["state"] == "revoked"


def test_a_rotated_key_keeps_its_permissions_and_lets_the_old_one_end(run: Run) -> None:
    told(run("merchants", "create", "acme", "--json"))
    old = told(run("keys", "create", "acme", "--permission", "jobs:write", "--name", "shop", "--json"))
    new = told(run("keys", "rotate", old["id"], "--overlap", "1h", "--json"))
    assert (new["name"], new["permissions"], new["expires_at"]) == ("shop", ["jobs:write"], None)
    assert new["key"] != old["key"]
    ahead = datetime.fromisoformat(new["replaces"]["expires_at"]) - utc_now()
    assert timedelta(minutes=59) < ahead <= timedelta(hours=1)


def test_what_the_operator_did_is_in_the_audit_log(run: Run, database_url: str) -> None:
    told(run("merchants", "create", "acme", "--json"))
    key = told(run("keys", "create", "acme", "--json"))
    told(run("keys", "revoke", key["id"], "--json"))
    told(run("merchants", "signing-secret", "acme", "--rotate", "--json"))
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT actor, action FROM audit_log ORDER BY id").fetchall()
    assert rows[0] == ("operator", "merchant.created")
    assert rows[1:] == [
        ("operator", "key.created"),
        ("operator", "key.revoked"),
        ("operator", "signing_secret.rotated"),
    ]


def test_an_unknown_merchant_or_key_is_not_found(run: Run) -> None:
    assert run("keys", "list", "nobody").exit_code == 3
    assert run("merchants", "signing-secret", "019a0000-0000-7000-8000-000000000001").exit_code == 3
    assert run("keys", "revoke", "000000000000").exit_code == 3


def test_a_permission_that_does_not_exist_is_a_usage_error(run: Run) -> None:
    assert run("keys", "create", "acme", "--permission", "jobs:fly").exit_code == 2


def test_listings_fit_80_columns(run: Run) -> None:
    told(run("merchants", "create", "a merchant with a long name, as they are in real life", "--json"))
    told(run("keys", "create", "a merchant with a long name, as they are in real life", "--json"))
    for answer in (
        run("merchants", "list"),
        run("keys", "list", "a merchant with a long name, as they are in real life"),
    ):
        assert answer.exit_code == 0
        assert max(len(line) for line in answer.stdout.splitlines()) <= 80


def test_migrating_twice_is_migrating_once(run: Run) -> None:
    assert told(run("migrate", "--json")) == {"applied": []}


def test_a_database_that_is_away_is_unavailable() -> None:
    env = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", "SIGNING_KEY": SIGNING_KEY}
    assert CliRunner(env=env).invoke(app, ["merchants", "list"]).exit_code == 7
    assert CliRunner(env=env).invoke(app, ["migrate"]).exit_code == 7
