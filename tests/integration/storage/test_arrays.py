"""Binary arrays of our own making mean to PostgreSQL what they mean to us."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_core.domain.lifecycle import JobStatus
from scheduler_core.storage import arrays

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
TRICKY_TEXT = st.sampled_from(["", "NULL", "null", "{}", ",", '"', "\\", '\\"', "a b", " ", "\n", "é\u2028😀", "{a,b}"])
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - naive bounds are asked for


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as found:
        found.execute("SET timezone = 'UTC'")
        yield found


def read(connection: psycopg.Connection[Any], array: arrays.Array, kind: str) -> list[Any]:
    """What PostgreSQL makes of it."""
    rows = connection.execute(f"SELECT value FROM unnest(%s::{kind}[]) AS value".encode(), (array,)).fetchall()
    return [row[0] for row in rows]


@given(values=st.lists(st.none() | ANY_TEXT | TRICKY_TEXT, max_size=8))
@RELAXED
def test_texts(connection: psycopg.Connection[Any], values: list[str | None]) -> None:
    assert read(connection, arrays.texts(values), "text") == values


@given(values=st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=8))
@RELAXED
def test_integers(connection: psycopg.Connection[Any], values: list[int | None]) -> None:
    assert read(connection, arrays.integers(values), "integer") == values


@given(values=st.lists(st.none() | st.integers(-(2**15), 2**15 - 1), max_size=8))
@RELAXED
def test_smallints(connection: psycopg.Connection[Any], values: list[int | None]) -> None:
    assert read(connection, arrays.smallints(values), "smallint") == values


@given(values=st.lists(st.none() | st.floats(allow_nan=False), max_size=8))
@RELAXED
def test_floats(connection: psycopg.Connection[Any], values: list[float | None]) -> None:
    assert read(connection, arrays.floats(values), "float8") == values


@given(values=st.lists(st.none() | MOMENTS, max_size=8))
@RELAXED
def test_moments(connection: psycopg.Connection[Any], values: list[datetime | None]) -> None:
    for often in (False, True):
        assert read(connection, arrays.moments(values, often=often), "timestamptz") == values


@given(values=st.lists(st.none() | st.uuids(), max_size=8))
@RELAXED
def test_ids(connection: psycopg.Connection[Any], values: list[UUID | None]) -> None:
    assert read(connection, arrays.ids(values), "uuid") == values


@given(values=st.lists(st.uuids(), max_size=8))
@RELAXED
def test_ids_in_hex(connection: psycopg.Connection[Any], values: list[UUID]) -> None:
    assert read(connection, arrays.hex_ids([value.hex for value in values]), "uuid") == values


@given(values=st.lists(st.sampled_from(JobStatus), max_size=8))
@RELAXED
def test_names(connection: psycopg.Connection[Any], values: list[JobStatus]) -> None:
    assert read(connection, arrays.names(values), "text[]::job_status") == values


@given(values=st.lists(st.none() | ANY_TEXT.map(json.dumps), max_size=8))
@RELAXED
def test_json_texts(connection: psycopg.Connection[Any], values: list[str | None]) -> None:
    assert read(connection, arrays.json_texts(values), "json[]::text") == values


@pytest.mark.parametrize(
    ("make", "kind", "value"),
    [
        (arrays.texts, "text", "é"),
        (arrays.json_texts, "json[]::text", "{}"),
        (arrays.names, "text[]::job_status", "pending"),
        (arrays.smallints, "smallint", -1),
        (arrays.integers, "integer", 70_000),
        (arrays.floats, "float8", 0.5),
        (arrays.moments, "timestamptz", datetime(2026, 11, 23, 12, 0, 0, 1, UTC)),
        (arrays.ids, "uuid", UUID(int=7)),
    ],
)
def test_a_column_of_one_value_or_of_none(
    connection: psycopg.Connection[Any], make: Any, kind: str, value: object
) -> None:
    for values in ([value] * 300, [None] * 300, [value, None] * 150, [None, value, value]):
        assert read(connection, make(values), kind) == values
