"""`POST /jobs/batch`: an outcome for each job, one transaction."""

import pytest

from api import wiring
from tests.builders import rows
from tests.producer import TARGET, Producer


def test_good_jobs_are_stored_whatever_the_others_are(api: str, producer: Producer) -> None:
    jobs = [
        {"target": TARGET, "reference_id": "first"},
        {"target": TARGET, "priority": 500},
        {"target": {"type": "http", "url": "http://10.0.0.1/"}},
        {"target": TARGET, "payload": "x" * (256 * 1024)},
        {"target": TARGET, "delay_seconds": 1, "scheduled_at": "2027-01-01T00:00:00Z"},
        "nonsense",
        {"target": TARGET, "reference_id": "last"},
    ]
    reply = producer.post("/jobs/batch", {"jobs": jobs})
    assert reply.status == 200
    assert (reply.json["created"], reply.json["failed"]) == (2, 5)
    assert [item["index"] for item in reply.json["items"]] == list(range(7))
    assert [item["status"] for item in reply.json["items"]] == [201, 422, 422, 413, 422, 422, 201]
    places = [[fault["pointer"] for fault in item.get("errors", [])] for item in reply.json["items"]]
    assert places == [[], ["/priority"], ["/target/url"], ["/payload"], ["/delay_seconds"], [""], []]
    stored = rows(api, "SELECT id::text, reference_id FROM jobs ORDER BY id")
    assert [row["reference_id"] for row in stored] == ["first", "last"]
    assert [row["id"] for row in stored] == [reply.json["items"][0]["id"], reply.json["items"][6]["id"]]


def test_a_thousand_jobs_are_one_call_and_come_back_in_order(producer: Producer) -> None:
    jobs = [{"target": TARGET, "reference_id": str(number)} for number in range(1_000)]
    reply = producer.post("/jobs/batch", {"jobs": jobs})
    assert reply.json["created"] == 1_000
    newest = producer.get("/jobs?limit=3").json["items"]
    assert [job["reference_id"] for job in newest] == ["999", "998", "997"]


@pytest.mark.parametrize("count", [0, 1_001])
def test_a_batch_holds_1_to_1000_jobs(producer: Producer, count: int) -> None:
    reply = producer.post("/jobs/batch", {"jobs": [{"target": TARGET}] * count})
    assert reply.status == 422
    assert reply.json["errors"][0]["pointer"] == "/jobs"


def test_a_batch_of_bad_jobs_stores_nothing(api: str, producer: Producer) -> None:
    reply = producer.post("/jobs/batch", {"jobs": [{}, {}]})
    assert (reply.status, reply.json["created"], reply.json["failed"]) == (200, 0, 2)
    assert rows(api, "SELECT 1 FROM jobs") == []


def test_a_log_line_is_written_for_twenty_jobs_of_a_batch_at_most(
    producer: Producer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """I8."""
    monkeypatch.setenv("JOB_EVENTS", "true")
    wiring.reset()
    producer.post("/jobs/batch", {"jobs": [{"target": TARGET}] * 50})
    assert sum(getattr(record, "event", None) == "job.created" for record in caplog.records) == 20
