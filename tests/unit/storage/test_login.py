"""libpq's parameters from what a secret says and what it leaves out."""

import json

import pytest

from scheduler_core.storage.login import parameters_of
from tests.secret_store import AWKWARD

FALLBACKS = {"host": "proxy", "port": "5432", "dbname": "scheduler", "sslmode": "require"}


def test_a_secret_that_rds_manages_says_user_and_password_only() -> None:
    told = json.dumps({"username": "owner", "password": AWKWARD})
    assert parameters_of(told, FALLBACKS) == {**FALLBACKS, "user": "owner", "password": AWKWARD}


def test_a_whole_secret_goes_before_the_fallbacks_and_other_members_are_ignored() -> None:
    told = json.dumps(
        {
            "engine": "postgres", "username": "u", "password": "p", "host": "cluster", "port": 6432,
            "dbname": "jobs", "dbClusterIdentifier": "c",
        }
    )  # fmt: skip
    assert parameters_of(told, FALLBACKS) == {
        "user": "u", "password": "p", "host": "cluster", "port": "6432", "dbname": "jobs", "sslmode": "require",
    }  # fmt: skip


def test_a_secret_may_be_a_url() -> None:
    told = "postgresql://u:p%40ss@cluster:6432/jobs?sslmode=verify-full&sslrootcert=/opt/ca.pem"
    assert parameters_of(told, FALLBACKS) == {
        "user": "u", "password": "p@ss", "host": "cluster", "port": "6432", "dbname": "jobs",
        "sslmode": "verify-full", "sslrootcert": "/opt/ca.pem",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("told", "lacking"),
    [
        ({"username": "u"}, "it lacks password$"),
        ({"password": "hidden"}, "it lacks username$"),
        ({}, "it lacks username, password$"),
        ({"username": "", "password": None}, "it lacks username, password$"),
    ],
)
def test_what_is_missing_is_named(told: dict[str, object], lacking: str) -> None:
    with pytest.raises(ValueError, match=lacking):
        parameters_of(json.dumps(told), FALLBACKS)


def test_a_host_that_nobody_says_is_missing() -> None:
    told = json.dumps({"username": "u", "password": "hidden"})
    with pytest.raises(ValueError, match=r"it lacks host \(or DATABASE_HOST\)$"):
        parameters_of(told, {"port": "5432"})


@pytest.mark.parametrize(
    "told",
    [
        "hidden", "postgresql://u:hidden%zz@host/db", "{hidden", '{"password": "hidden"', "host=h hidden",
        "postgresql://u:p@host/db?hidden=1", "",
    ],
)  # fmt: skip
def test_i9_what_makes_no_sense_is_not_quoted(told: str) -> None:
    with pytest.raises(ValueError, match=r"^it ") as error:
        parameters_of(told, FALLBACKS)
    assert "hidden" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_url_that_was_given_outright_is_left_to_libpq() -> None:
    assert parameters_of("postgresql://host/db", None) == {"host": "host", "dbname": "db"}
