"""Columns as PostgreSQL array literals, for `unnest`.

psycopg dumps a list element by element; for a thousand rows of eighteen columns these joins are five times as fast,
and that is half of what storing a batch costs.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID


def numbers(values: Iterable[float | None]) -> str:
    """Numbers or null. Python's own spelling of a float is PostgreSQL's."""
    return "{" + ",".join(["NULL" if value is None else repr(value) for value in values]) + "}"


def ids(values: Iterable[UUID]) -> str:
    """Ids. PostgreSQL reads them without hyphens too."""
    return "{" + ",".join([value.hex for value in values]) + "}"


def words(values: Iterable[UUID | str | None]) -> str:
    """Ids, or the names of an enum: text that needs no quotes; or null."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def moments(values: Iterable[datetime | None]) -> str:
    """Times or null."""
    return "{" + ",".join(["NULL" if value is None else f'"{value}"' for value in values]) + "}"


def texts(values: Iterable[str | None]) -> str:
    """Any text or null."""
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def _quoted(value: str) -> str:
    if "\\" in value:
        value = value.replace("\\", "\\\\")
    return '"' + value.replace('"', '\\"') + '"'
