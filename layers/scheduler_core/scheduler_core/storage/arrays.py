"""Columns as PostgreSQL array literals, for `unnest`.

psycopg dumps a list element by element; for a thousand rows of eighteen columns these joins are five times as fast,
and that is half of what storing a batch costs.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID


def numbers(values: Iterable[float | None]) -> str:
    """Numbers or null. Python's own spelling of a list of them is PostgreSQL's, but for its brackets and None."""
    return "{" + str([*values])[1:-1].replace("None", "NULL") + "}"


def ids(values: Iterable[UUID]) -> str:
    """Ids. PostgreSQL reads them without hyphens too."""
    return "{" + b"".join([value.bytes for value in values]).hex(",", 16) + "}"


def names(values: Iterable[str]) -> str:
    """Names that need no quotes, such as those of an enum, or an id's digits."""
    return "{" + ",".join(values) + "}"


def words(values: Iterable[UUID | str | None]) -> str:
    """Ids, or the names of an enum: text that needs no quotes; or null."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def moments(values: Iterable[datetime | None]) -> str:
    """Times or null. One and the same time for many in a row is written out once."""
    last, text, written = None, "NULL", []
    for value in values:
        if value is not last:
            last, text = value, "NULL" if value is None else f'"{value}"'
        written.append(text)
    return "{" + ",".join(written) + "}"


def texts(values: Iterable[str | None]) -> str:
    """Any text or null."""
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def _quoted(value: str) -> str:
    if "\\" in value:
        value = value.replace("\\", "\\\\")
    return '"' + value.replace('"', '\\"') + '"'
