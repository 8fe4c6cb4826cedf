"""The stub of the API, and the shapes that it answers with."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.cli.stub import StubApi, serving


@pytest.fixture
def api() -> Iterator[StubApi]:
    with serving() as stub:
        yield stub


@pytest.fixture
def job() -> dict[str, Any]:
    return {
        "id": "019a0000-0000-7000-8000-000000000001",
        "template_id": None,
        "status": "pending",
        "target": {
            "type": "http",
            "url": "https://user:secret@example.com/hook?token=secret",
            "method": "POST",
            "headers": {},
        },
        "schedule_type": "one_time",
        "scheduled_at": "2026-11-23T09:00:00.000Z",
        "next_run_at": "2026-11-23T09:00:00.000Z",
        "last_run_at": None,
        "completed_at": None,
        "expires_at": None,
        "priority": 0,
        "retries": 0,
        "max_retries": 3,
        "reference_id": "order-7",
        "last_error": None,
        "metadata": {},
        "created_at": "2026-11-23T08:59:00.000Z",
        "updated_at": "2026-11-23T08:59:00.000Z",
    }


@pytest.fixture
def attempt() -> dict[str, Any]:
    return {
        "attempt": 1,
        "outcome": "completed",
        "due_at": "2026-11-23T09:00:00.000Z",
        "started_at": "2026-11-23T09:00:00.004Z",
        "finished_at": "2026-11-23T09:00:00.054Z",
        "http_status": 200,
        "error": None,
        "response": None,
    }
