"""`POST /jobs`: what is accepted, what is answered, what is refused and where it says the fault is."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from api import wiring
from scheduler_core.clock import utc_now
from tests.builders import job_row, rows
from tests.producer import TARGET, Producer


def pointers(reply: Any) -> set[str]:
    """Where the faults are."""
    assert (reply.status, reply.media_type) == (422, "application/problem+json"), reply
    return {fault["pointer"] for fault in reply.json["errors"]}


def test_a_job_with_nothing_but_a_target_is_due_now(producer: Producer) -> None:
    before = utc_now()
    reply = producer.post("/jobs", {"target": TARGET})
    assert reply.status == 201
    assert reply.headers["location"] == f"/jobs/{reply.json['id']}"
    assert before <= datetime.fromisoformat(reply.json["scheduled_at"]) <= utc_now()
    assert reply.json | {"status": "pending", "priority": 0, "max_retries": 3, "timeout_seconds": 30} == reply.json
    assert reply.json["retry"] == {"initial_seconds": 1, "max_seconds": 3600, "multiplier": 2}
    assert reply.json["target"] == TARGET | {"method": "POST", "headers": {}}


def test_the_answer_is_what_is_read_later(producer: Producer) -> None:
    body = {
        "target": TARGET | {"method": "PUT", "headers": {"X-One": "1"}},
        "payload": {"ключ": [1, 1.5, None, True, "\u2028", 2**70], "": {}},
        "scheduled_at": "2027-01-31T10:30:00.123456+01:00",
        "reference_id": "order-✓",
        "priority": -100,
        "max_retries": 100,
        "retry": {"initial_seconds": 0.5, "max_seconds": 60, "multiplier": 1.5},
        "timeout_seconds": 300,
        "expires_at": "2027-02-01T00:00:00Z",
        "metadata": {"a": "b"},
        "schedule_type": "polling",
        "interval_seconds": 5,
        "max_attempts": 7,
    }
    made = producer.post("/jobs", body)
    assert made.status == 201, made
    assert producer.get(made.headers["location"]).text == made.text
    answered = made.json
    assert (
        answered | (body | {"scheduled_at": "2027-01-31T09:30:00.123456Z", "expires_at": answered["expires_at"]})
        == answered
    )
    assert answered["next_run_at"] == "2027-01-31T09:30:00.123456Z"


def test_a_delay_counts_from_now(producer: Producer) -> None:
    before = utc_now()
    made = producer.post("/jobs", {"target": TARGET, "delay_seconds": 90.5}).json
    due = datetime.fromisoformat(made["next_run_at"])
    assert before + timedelta(seconds=90.5) <= due <= utc_now() + timedelta(seconds=90.5)


def test_a_time_that_has_passed_means_now(producer: Producer) -> None:
    before = utc_now()
    made = producer.post("/jobs", {"target": TARGET, "scheduled_at": "2001-01-01T00:00:00Z"}).json
    assert made["scheduled_at"] == "2001-01-01T00:00:00.000000Z"
    assert before <= datetime.fromisoformat(made["next_run_at"]) <= utc_now()


def test_a_null_payload_is_no_payload(api: str, producer: Producer) -> None:
    made = producer.post("/jobs", {"target": TARGET, "payload": None}).json
    assert job_row(api, made["id"])["payload"] is None
    assert made["payload"] is None


@pytest.mark.parametrize("payload", [False, 0, "", [], {}, "text", [[[1]]]])
def test_any_json_is_a_payload(producer: Producer, payload: Any) -> None:
    made = producer.post("/jobs", {"target": TARGET, "payload": payload})
    assert (made.status, made.json["payload"]) == (201, payload)


def test_a_payload_of_256_kib_is_the_largest(producer: Producer) -> None:
    limit = 256 * 1024 - 2
    assert producer.post("/jobs", {"target": TARGET, "payload": "x" * limit}).status == 201
    refused = producer.post("/jobs", {"target": TARGET, "payload": "x" * (limit + 1)})
    assert (refused.status, refused.media_type) == (413, "application/problem+json")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"target": None}, "/target"),
    ({"target": {}}, "/target"),
    ({"target": {"type": "smtp"}}, "/target"),
    ({"target": TARGET | {"arn": "x"}}, "/target/arn"),
    ({"target": TARGET | {"method": "TRACE"}}, "/target/method"),
    ({"target": TARGET | {"method": "get"}}, "/target/method"),
    ({"target": {"type": "http"}}, "/target/url"),
    ({"payload": "a\x00b"}, "/payload"),
    ({"payload": {"a\x00": [1]}}, "/payload"),
    ({"payload": [{"a": {"b": "\x00"}}]}, "/payload"),
    ({"reference_id": "a\x00b"}, "/reference_id"),
    ({"reference_id": ""}, "/reference_id"),
    ({"reference_id": "x" * 256}, "/reference_id"),
    ({"reference_id": 5}, "/reference_id"),
    ({"priority": 101}, "/priority"),
    ({"priority": -101}, "/priority"),
    ({"priority": "1"}, "/priority"),
    ({"priority": True}, "/priority"),
    ({"priority": 1.5}, "/priority"),
    ({"priority": None}, "/priority"),
    ({"priority": 2**70}, "/priority"),
    ({"max_retries": 101}, "/max_retries"),
    ({"max_retries": -1}, "/max_retries"),
    ({"timeout_seconds": 0}, "/timeout_seconds"),
    ({"timeout_seconds": 301}, "/timeout_seconds"),
    ({"retry": {"initial_seconds": -1}}, "/retry/initial_seconds"),
    ({"retry": {"multiplier": 0.5}}, "/retry/multiplier"),
    ({"retry": {"initial_seconds": 10, "max_seconds": 5}}, "/retry/max_seconds"),
    ({"retry": {"factor": 2}}, "/retry/factor"),
    ({"delay_seconds": -1}, "/delay_seconds"),
    ({"delay_seconds": 1e12}, "/delay_seconds"),
    ({"delay_seconds": "5"}, "/delay_seconds"),
    ({"delay_seconds": True}, "/delay_seconds"),
    ({"delay_seconds": 1, "scheduled_at": "2027-01-01T00:00:00Z"}, "/delay_seconds"),
    ({"scheduled_at": "2027-01-01"}, "/scheduled_at"),
    ({"scheduled_at": "2027-01-01T00:00:00"}, "/scheduled_at"),
    ({"scheduled_at": "2027-02-30T00:00:00Z"}, "/scheduled_at"),
    ({"scheduled_at": "2027-01-01T25:00:00Z"}, "/scheduled_at"),
    ({"scheduled_at": "2027-01-01T00:00:00+25:00"}, "/scheduled_at"),
    ({"scheduled_at": "9999-12-31T23:59:59-14:00"}, "/scheduled_at"),
    ({"scheduled_at": "0001-01-01T00:00:00+14:00"}, "/scheduled_at"),
    ({"scheduled_at": "0000-00-00T00:00:00Z"}, "/scheduled_at"),
    ({"scheduled_at": "tomorrow"}, "/scheduled_at"),
    ({"scheduled_at": 1_800_000_000}, "/scheduled_at"),
    ({"scheduled_at": "1800000000"}, "/scheduled_at"),
    ({"expires_at": "2001-01-01T00:00:00Z"}, "/expires_at"),
    ({"scheduled_at": "2027-01-02T00:00:00Z", "expires_at": "2027-01-02T00:00:00Z"}, "/expires_at"),
    ({"schedule_type": "recurring"}, "/schedule_type"),
    ({"schedule_type": "polling"}, "/interval_seconds"),
    ({"schedule_type": "polling", "interval_seconds": 0}, "/interval_seconds"),
    ({"schedule_type": "polling", "interval_seconds": 2**40}, "/interval_seconds"),
    ({"schedule_type": "polling", "interval_seconds": 1, "max_attempts": 0}, "/max_attempts"),
    ({"max_attempts": 3}, "/max_attempts"),
    ({"interval_seconds": 3}, "/interval_seconds"),
    ({"metadata": {"a": 1}}, "/metadata/a"),
    ({"metadata": {"a/b~c": 1}}, "/metadata/a~1b~0c"),
    ({"metadata": {"a": "\x00"}}, "/metadata/a"),
    ({"metadata": {str(n): "" for n in range(65)}}, "/metadata"),
    ({"metadata": []}, "/metadata"),
    ({"metadata": None}, "/metadata"),
    ({"status": "completed"}, "/status"),
    ({"merchant_id": "other"}, "/merchant_id"),
]


def test_what_makes_no_sense_is_refused_where_it_stands(producer: Producer, subtests: pytest.Subtests) -> None:
    for changes, pointer in REFUSED:
        with subtests.test(changes=str(changes)[:60]):
            assert pointers(producer.post("/jobs", {"target": TARGET} | changes)) == {pointer}


def test_every_fault_is_told_at_once(producer: Producer) -> None:
    body = {"target": TARGET, "priority": 500, "max_retries": "many", "colour": "red"}
    assert pointers(producer.post("/jobs", body)) == {"/priority", "/max_retries", "/colour"}


BAD_URLS = [
    "", "http://", "//example.com", "example.com", "ftp://example.com", "file:///etc/passwd", "javascript:alert(1)",
    "http://exa mple.com", "http://user:pass@example.com/", "http://user@example.com/", "http://example.com:0/",
    "http://example.com:99999/", "http://example.com:x/", "http://[::1", "http://a\x00b/", "http://ex\nample.com/",
    "http://" + "a" * 2_050, "http://10.0.0.1/", "https://[::ffff:10.0.0.1]/", "http://169.254.169.254/latest",
    "http://[fd00::1]/", "http://100.64.0.1/", "http://0x0a000001/", "http://192.168.1.1:8080/x",
]  # fmt: skip


def test_a_url_that_leads_nowhere_allowed_is_refused(producer: Producer, subtests: pytest.Subtests) -> None:
    for url in BAD_URLS:
        with subtests.test(url=url[:40]):
            assert pointers(producer.post("/jobs", {"target": {"type": "http", "url": url}})) == {"/target/url"}


BAD_HEADERS: list[Any] = [
    {"Host": "x"}, {"content-length": "1"}, {"Connection": "close"}, {"Transfer-Encoding": "chunked"}, {"TE": "x"},
    {"Webhook-Id": "1"}, {"webhook-signature": "1"}, {"X-Scheduler-Attempt": "1"}, {"traceparent": "1"},
    {"a b": "1"}, {"": "1"}, {"a:": "1"}, {"ä": "1"}, {"a": "b\r\nc: d"}, {"a": "\x00"}, {"a": "ü"}, {"a": " b"},
    {"A": "1", "a": "2"}, {f"h{n}": "" for n in range(51)}, {"a": "x" * 8_193},
    {"a": "x" * 8_192, "b": "x" * 8_191},
]  # fmt: skip


def test_headers_that_are_ours_or_unspeakable_are_refused(producer: Producer, subtests: pytest.Subtests) -> None:
    for headers in BAD_HEADERS:
        with subtests.test(headers=str(headers)[:40]):
            assert pointers(producer.post("/jobs", {"target": TARGET | {"headers": headers}})) == {"/target/headers"}


ARN = "arn:aws:{}:eu-west-1:123456789012:{}"
AWS: list[dict[str, Any]] = [
    {"type": "lambda", "arn": ARN.format("lambda", "function:report")},
    {"type": "lambda", "arn": ARN.format("lambda", "function:report:live")},
    {"type": "sqs", "arn": ARN.format("sqs", "orders")},
    {"type": "sqs", "arn": ARN.format("sqs", "orders.fifo"), "message_group_id": "g-1"},
    {"type": "sns", "arn": ARN.format("sns", "news")},
    {"type": "eventbridge", "arn": ARN.format("events", "event-bus/main"), "detail_type": "t", "source": "s"},
    {"type": "stepfunctions", "arn": ARN.format("states", "stateMachine:flow")},
]
BAD_AWS: list[dict[str, Any]] = [
    {"type": "lambda", "arn": ARN.format("sqs", "orders")},
    {"type": "lambda", "arn": "report"},
    {"type": "lambda", "arn": ARN.format("lambda", "function:report\n")},
    {"type": "sqs", "arn": ARN.format("sqs", "orders.fifo")},
    {"type": "sqs", "arn": ARN.format("sqs", "orders"), "message_group_id": "g"},
    {"type": "eventbridge", "arn": ARN.format("events", "event-bus/main")},
    {"type": "stepfunctions", "arn": ARN.format("states", "execution:flow")},
]


def test_an_aws_target_needs_a_pattern_of_the_merchant(
    api: str, producer: Producer, stranger: Producer, subtests: pytest.Subtests
) -> None:
    allow(api, producer, "arn:aws:*:eu-west-1:123456789012:*")
    for target in AWS:
        with subtests.test(target=target["arn"]):
            made = producer.post("/jobs", {"target": target})
            assert (made.status, made.json["target"]) == (201, target)
            assert pointers(stranger.post("/jobs", {"target": target})) == {"/target/arn"}


def test_a_pattern_allows_what_it_matches_only(api: str, producer: Producer) -> None:
    allow(api, producer, "arn:aws:lambda:eu-west-1:123456789012:function:report*")
    allowed, other = ARN.format("lambda", "function:reports"), ARN.format("lambda", "function:delete")
    assert producer.post("/jobs", {"target": {"type": "lambda", "arn": allowed}}).status == 201
    assert pointers(producer.post("/jobs", {"target": {"type": "lambda", "arn": other}})) == {"/target/arn"}


def test_a_malformed_aws_target_is_refused(api: str, producer: Producer, subtests: pytest.Subtests) -> None:
    allow(api, producer, "*")
    for target in BAD_AWS:
        with subtests.test(target=str(target)):
            reply = producer.post("/jobs", {"target": target})
            assert all(pointer.startswith("/target") for pointer in pointers(reply))


def allow(api: str, producer: Producer, *patterns: str) -> None:
    rows(
        api,
        "UPDATE merchants SET allowed_target_arns = %s WHERE id = %s RETURNING id",
        list(patterns),
        producer.merchant_id,
    )


def test_nothing_secret_of_a_job_is_logged(
    producer: Producer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I9."""
    monkeypatch.setenv("JOB_EVENTS", "true")
    wiring.reset()
    target = TARGET | {"headers": {"authorization": "Bearer open-sesame"}, "url": TARGET["url"] + "?token=open-sesame"}
    assert producer.post("/jobs", {"target": target, "payload": "open-sesame"}).status == 201
    assert [record.event for record in caplog.records if hasattr(record, "event")] == ["job.created"]
    assert all("open-sesame" not in str(vars(record)) for record in caplog.records)
