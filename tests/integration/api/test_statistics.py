"""`GET /stats`."""

from datetime import timedelta

import pytest

from scheduler_core.clock import utc_now
from scheduler_core.storage import jobs
from tests.builders import new_id, rows, store_jobs
from tests.producer import TARGET, Producer


def test_a_merchant_without_jobs_has_statistics_too(producer: Producer) -> None:
    assert producer.get("/stats").json == {
        "counts": dict.fromkeys(["pending", "running", "retrying", "completed", "failed", "cancelled", "expired"], 0),
        "counts_complete": True,
        "counted_since": None,
        "oldest_due_age_seconds": None,
        "completed_last_hour": 0,
        "failed_last_hour": 0,
    }


def test_counts_and_age_are_those_of_the_merchants_jobs(api: str, producer: Producer, stranger: Producer) -> None:
    """I7."""
    store_jobs(api, stranger.merchant_id, 3, now=utc_now() - timedelta(days=1))
    producer.post("/jobs", {"target": TARGET, "delay_seconds": 3600})
    store_jobs(api, producer.merchant_id, 2, now=utc_now() - timedelta(minutes=5))
    found = producer.get("/stats").json
    assert (found["counts"]["pending"], found["counts_complete"]) == (3, True)
    assert 300 <= found["oldest_due_age_seconds"] < 360


def test_counts_say_when_they_are_not_of_all_jobs(
    api: str, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I8."""
    monkeypatch.setattr(jobs, "COUNTED_ROWS", 4)
    store_jobs(api, producer.merchant_id, 9)
    found = producer.get("/stats").json
    assert (found["counts"]["pending"], found["counts_complete"]) == (4, False)


def test_the_last_hour_is_added_up_from_the_minutes(api: str, producer: Producer, stranger: Producer) -> None:
    now = utc_now()
    for merchant, age, completed, failed in [
        (producer.merchant_id, timedelta(minutes=1), 5, 1),
        (producer.merchant_id, timedelta(minutes=30), 7, 0),
        (producer.merchant_id, timedelta(hours=2), 100, 100),
        (stranger.merchant_id, timedelta(minutes=1), 100, 100),
    ]:
        rows(
            api,
            "INSERT INTO throughput (merchant_id, minute, executor_id, completed, failed)"
            " VALUES (%s, date_trunc('minute', %s::timestamptz), %s, %s, %s) RETURNING minute",
            merchant,
            now - age,
            new_id(),
            completed,
            failed,
        )
    found = producer.get("/stats").json
    assert (found["completed_last_hour"], found["failed_last_hour"]) == (12, 1)
