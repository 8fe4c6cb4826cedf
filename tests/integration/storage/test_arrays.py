"""Array literals of our own making mean to PostgreSQL what they mean to us."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def read(connection: psycopg.Connection[Any], literal: str, kind: str) -> list[Any]:
    """What PostgreSQL makes of it."""
    rows = connection.execute(f"SELECT value FROM unnest(%s::{kind}[]) AS value".encode(), (literal,)).fetchall()
    return [row[0] for row in rows]


@given(values=st.lists(st.none() | ANY_TEXT | TRICKY_TEXT, max_size=8))
@RELAXED
def test_texts(connection: psycopg.Connection[Any], values: list[str | None]) -> None:
    assert read(connection, arrays.texts(values), "text") == values


@given(values=st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=8))
@RELAXED
def test_whole_numbers(connection: psycopg.Connection[Any], values: list[int | None]) -> None:
    assert read(connection, arrays.numbers(values), "integer") == values


@given(values=st.lists(st.none() | st.floats(allow_nan=False), max_size=8))
@RELAXED
def test_floats(connection: psycopg.Connection[Any], values: list[float | None]) -> None:
    assert read(connection, arrays.numbers(values), "float8") == values


@given(values=st.lists(st.none() | MOMENTS, max_size=8))
@RELAXED
def test_moments(connection: psycopg.Connection[Any], values: list[datetime | None]) -> None:
    assert read(connection, arrays.moments(values), "timestamptz") == values


@given(values=st.lists(st.none() | st.uuids(), max_size=8))
@RELAXED
def test_ids(connection: psycopg.Connection[Any], values: list[Any]) -> None:
    assert read(connection, arrays.words(values), "uuid") == values
