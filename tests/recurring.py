"""Templates for tests, and what became of their runs."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection

from scheduler_core.domain.jobs import Hint
from scheduler_core.domain.recurrence import Schedule
from scheduler_core.domain.templates import Template
from scheduler_core.services import template_changes
from scheduler_core.settings import RecurrenceSettings
from scheduler_core.storage.database import Database, Role
from tests.builders import NOW, http_target, new_id, rows

SETTINGS = RecurrenceSettings()


def a_template(merchant_id: UUID, cron: str | None = "* * * * *", *, now: datetime = NOW, **given: Any) -> Template:
    """A template that is not stored yet. `interval_seconds`, `timezone`, `start_at` and `end_at` go to its schedule."""
    timing = {key: given.pop(key) for key in ("interval_seconds", "timezone", "start_at", "end_at") if key in given}
    identifier = new_id(now)
    made = Template(
        id=identifier,
        merchant_id=merchant_id,
        name=f"template {identifier}",
        schedule=Schedule(cron=None if "interval_seconds" in timing else cron, created_at=now, **timing),
        target=http_target(),
        created_at=now,
        updated_at=now,
    )
    return replace(made, **given)


def store_template(database_url: str, template: Template, *, now: datetime = NOW) -> list[Hint]:
    """Create it as its merchant would."""
    with of_merchant(database_url, template.merchant_id) as connection:
        return template_changes.create(connection, template.merchant_id, template, now, SETTINGS)


@contextmanager
def of_merchant(database_url: str, merchant_id: UUID) -> Iterator[Connection[Any]]:
    """A transaction as the API has it."""
    with closing(Database(database_url, Role.API)) as database, database.of_merchant(merchant_id) as connection:
        yield connection


@contextmanager
def across_merchants(database_url: str) -> Iterator[Connection[Any]]:
    """A transaction as workers have it."""
    with closing(Database(database_url, Role.WORKER)) as database, database.transaction() as connection:
        yield connection


def runs_of(database_url: str, template: Template) -> list[dict[str, Any]]:
    """The template's jobs, by nominal time."""
    return rows(database_url, "SELECT * FROM jobs WHERE template_id = %s ORDER BY nominal_at, id", template.id)


def template_row(database_url: str, template: Template) -> dict[str, Any]:
    """The template as it is stored."""
    return rows(database_url, "SELECT * FROM templates WHERE id = %s", template.id)[0]
