"""`POST /jobs/batch`: an outcome for each job, one transaction."""

from typing import Any

import pytest

from api import wiring
from api.batching import AT_ONCE
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


def test_every_part_of_a_batch_has_its_own_good_and_bad(api: str, producer: Producer) -> None:
    count = 3 * AT_ONCE + 7
    bad = {0, AT_ONCE - 1, AT_ONCE, 2 * AT_ONCE + 5, count - 1}
    jobs = [
        {"target": TARGET, "reference_id": str(number), "priority": 500 if number in bad else 0}
        for number in range(count)
    ]
    reply = producer.post("/jobs/batch", {"jobs": jobs})
    assert (reply.json["created"], reply.json["failed"]) == (count - len(bad), len(bad))
    assert [item["index"] for item in reply.json["items"]] == list(range(count))
    assert {item["index"] for item in reply.json["items"] if item["status"] != 201} == bad
    stored = rows(api, "SELECT id::text, reference_id FROM jobs ORDER BY id")
    assert [(row["id"], row["reference_id"]) for row in stored] == [
        (item["id"], str(item["index"])) for item in reply.json["items"] if item["status"] == 201
    ]


def test_jobs_of_all_kinds_are_stored_as_they_were_asked_for(producer: Producer) -> None:
    jobs: list[dict[str, Any]] = [
        {"target": TARGET | {"headers": {"x-one": "1"}}, "payload": {"é": [1, None]}, "metadata": {"a": "b"}},
        {"target": TARGET, "schedule_type": "polling", "interval_seconds": 5, "max_attempts": 7, "priority": -100},
        {"target": TARGET, "retry": {"initial_seconds": 0.5, "max_seconds": 60, "multiplier": 1.5}, "max_retries": 0},
        {"target": TARGET, "scheduled_at": "2027-01-31T09:30:00.000001Z", "expires_at": "2027-02-01T00:00:00Z"},
    ]
    reply = producer.post("/jobs/batch", {"jobs": jobs})
    for asked, item in zip(jobs, reply.json["items"], strict=True):
        job = producer.get(f"/jobs/{item['id']}").json
        for name, value in asked.items():
            if name == "target":
                assert value.items() <= job[name].items()
            elif name.endswith("_at"):
                assert job[name].startswith(value[:19])
            else:
                assert job[name] == value


def test_targets_are_judged_one_by_one(api: str, producer: Producer) -> None:
    own, other = "arn:aws:sqs:eu-west-1:123456789012:mine", "arn:aws:sqs:eu-west-1:123456789012:other"
    rows(api, "UPDATE merchants SET allowed_target_arns = %s WHERE id = %s RETURNING id", [own], producer.merchant_id)
    targets: list[Any] = [
        TARGET,
        {"type": "sqs", "arn": own},
        {"type": "sqs", "arn": other},
        {"type": "http", "url": "http://10.0.0.1/"},
        {"type": "http", "url": "http://["},
        {"type": "http", "url": 5},
        {"type": "http"},
        {"type": ["http"], "url": TARGET["url"]},
        {},
        5,
        None,
        TARGET,
    ]
    reply = producer.post("/jobs/batch", {"jobs": [{"target": target} for target in targets]})
    statuses = [item["status"] for item in reply.json["items"]]
    assert statuses == [201, 201, *[422] * 9, 201]
    places = [item["errors"][0]["pointer"] for item in reply.json["items"] if item["status"] == 422]
    assert places[:5] == ["/target/arn", "/target/url", "/target/url", "/target/url", "/target/url"]
    assert all(place.startswith("/target") for place in places)


def test_names_are_looked_up_before_anything_waits_for_them_in_the_database(
    api: str, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer.post("/jobs/batch", {"jobs": [{"target": TARGET}]})  # there is a connection now
    busy: list[int] = []

    class Guard:
        def check_urls(self, urls: list[str]) -> list[None]:
            found = rows(
                api,
                "SELECT count(*) AS busy FROM pg_stat_activity WHERE application_name = 'task-scheduler'"
                " AND datname = current_database() AND xact_start IS NOT NULL",
            )
            busy.append(found[0]["busy"])
            return [None for _ in urls]

    with monkeypatch.context() as patched:
        patched.setattr(wiring, "target_guard", Guard)
        reply = producer.post("/jobs/batch", {"jobs": [{"target": TARGET}] * (2 * AT_ONCE)})
    assert reply.json["created"] == 2 * AT_ONCE
    assert busy == [0]
