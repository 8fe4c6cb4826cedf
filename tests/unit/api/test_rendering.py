"""Rows as JSON text."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from api.rendering import job_json, moment, number
from scheduler_core.storage.jobs import JobRow

NOW = datetime(2026, 11, 23, 12, 0, 0, 5, tzinfo=UTC)
ID = UUID("01a207c1-faa4-745d-ba5c-3431d75f074d")
TEXT = st.none() | st.text()
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5)


def row(**columns: Any) -> JobRow:
    """A job."""
    given: dict[str, Any] = dict.fromkeys(JobRow._fields) | {
        "id": ID,
        "schedule_type": "one_time",
        "status": "pending",
        "retry_initial_seconds": 1.0,
        "retry_max_seconds": 0.5,
        "retry_multiplier": 2.0,
        "scheduled_at": NOW,
        "created_at": NOW,
        "updated_at": NOW,
        "target": "{}",
        "metadata": "{}",
        **dict.fromkeys(["priority", "attempt", "retries", "polls", "max_retries", "timeout_seconds"], 1),
    }
    return JobRow(**(given | columns))


@given(reference=TEXT, error=TEXT, payload=JSON)
def test_any_content_makes_valid_json(reference: str | None, error: str | None, payload: Any) -> None:
    shown = json.loads(job_json(row(reference_id=reference, last_error=error, payload=json.dumps(payload))))
    assert (shown["reference_id"], shown["last_error"], shown["payload"]) == (reference, error, payload)


def test_payload_text_is_shown_as_it_was_stored() -> None:
    assert '"payload":{"n": 1.50,"n": 2}' in job_json(row(payload='{"n": 1.50,"n": 2}'))


def test_times_are_utc_with_microseconds() -> None:
    assert moment(NOW) == '"2026-11-23T12:00:00.000005Z"'
    assert moment(NOW.replace(microsecond=0)) == '"2026-11-23T12:00:00.000000Z"'
    assert moment(None) == "null"


def test_whole_numbers_have_no_fraction() -> None:
    assert [number(value) for value in (1.0, 0.5, 7, None)] == ["1", "0.5", "7", "null"]
