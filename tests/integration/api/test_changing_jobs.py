"""PATCH, DELETE, run and retry: who may change what when, what is written down and who is told."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from api import wiring
from scheduler_core.clock import utc_now
from scheduler_core.domain.lifecycle import Event, JobStatus, allows
from tests.builders import job_row, rows, store_jobs
from tests.producer import TARGET, Producer

WAITING = {"pending", "retrying"}


def job_in(api: str, producer: Producer, status: JobStatus, **columns: Any) -> UUID:
    """A job of the producer in this status."""
    now = utc_now()
    given: dict[str, Any] = {"next_run_at": now + timedelta(hours=1) if status in WAITING else None}
    if status is JobStatus.RUNNING:
        given["lease_expires_at"] = now + timedelta(seconds=30)
    elif status not in WAITING:
        given["completed_at"] = now
    return store_jobs(api, producer.merchant_id, now=now, status=status.value, **given | columns)[0]


def audited(api: str) -> list[tuple[str, str, str]]:
    """What the audit log holds."""
    found = rows(api, "SELECT actor, action, resource FROM audit_log ORDER BY id")
    return [(row["actor"], row["action"], row["resource"]) for row in found]


EVENTS = {
    Event.EDIT: ("PATCH", "/jobs/{}", {"priority": 7}, 200, "job.edited"),
    Event.CANCEL: ("DELETE", "/jobs/{}", None, 200, "job.cancelled"),
    Event.RUN_NOW: ("POST", "/jobs/{}/run", None, 202, "job.run"),
    Event.REDRIVE: ("POST", "/jobs/{}/retry", None, 202, "job.redriven"),
}


@pytest.mark.parametrize("event", EVENTS, ids=str)
def test_a_change_is_made_where_the_lifecycle_allows_it_and_written_down(
    api: str, producer: Producer, event: Event, subtests: pytest.Subtests
) -> None:
    method, path, body, success, action = EVENTS[event]
    for status in JobStatus:
        with subtests.test(status=str(status)):
            job = job_in(api, producer, status)
            before, noted = job_row(api, job), len(audited(api))
            reply = producer.call(method, path.format(job), body)
            if allows(event, status):
                assert reply.status == success, reply
                assert producer.get(f"/jobs/{job}").json == reply.json
                assert audited(api)[noted:] == [(producer.key_id, action, f"/jobs/{job}")]
            else:
                assert (reply.status, reply.media_type) == (409, "application/problem+json"), reply
                assert status in reply.json["detail"]
                assert job_row(api, job) == before
                assert len(audited(api)) == noted


def test_every_field_of_a_patch_is_changed_and_no_other(api: str, producer: Producer) -> None:
    job = job_in(api, producer, JobStatus.PENDING, payload='{"old": 1}')
    before = producer.get(f"/jobs/{job}").json
    change = {
        "scheduled_at": "2027-05-01T00:00:00.000000Z",
        "priority": 9,
        "payload": {"new": 2},
        "target": TARGET | {"method": "PUT", "headers": {"a": "b"}},
        "max_retries": 1,
        "timeout_seconds": 7,
        "metadata": {"k": "v"},
    }
    after = producer.patch(f"/jobs/{job}", change).json
    assert after == before | change | {"next_run_at": change["scheduled_at"], "updated_at": after["updated_at"]}
    for name, value in change.items():
        assert producer.patch(f"/jobs/{job}", {name: value}).json == after | {"updated_at": _updated(producer, job)}


def _updated(producer: Producer, job: UUID) -> str:
    updated: str = producer.get(f"/jobs/{job}").json["updated_at"]
    return updated


def test_a_null_payload_takes_the_payload_away(api: str, producer: Producer) -> None:
    job = job_in(api, producer, JobStatus.PENDING, payload='{"old": 1}')
    assert producer.patch(f"/jobs/{job}", {"payload": None}).json["payload"] is None


@pytest.mark.parametrize(
    "body",
    [
        {}, {"scheduled_at": None}, {"priority": None}, {"target": None}, {"max_retries": None},
        {"timeout_seconds": None}, {"metadata": None}, {"reference_id": "x"}, {"status": "completed"},
        {"scheduled_at": "soon"}, {"priority": 101}, {"target": TARGET | {"url": "http://10.0.0.1/"}},
        {"payload": "\x00"}, {"schedule_type": "polling"}, {"delay_seconds": 5}, {"expires_at": None},
    ],
)  # fmt: skip
def test_a_patch_that_makes_no_sense_changes_nothing(api: str, producer: Producer, body: dict[str, Any]) -> None:
    job = job_in(api, producer, JobStatus.PENDING)
    before = job_row(api, job)
    reply = producer.patch(f"/jobs/{job}", body)
    assert (reply.status, len(reply.json["errors"])) == (422, 1), reply
    assert job_row(api, job) == before


def test_moving_a_retrying_job_moves_its_next_run(api: str, producer: Producer) -> None:
    job = job_in(api, producer, JobStatus.RETRYING, retries=2)
    after = producer.patch(f"/jobs/{job}", {"scheduled_at": "2027-05-01T00:00:00Z"}).json
    assert (after["status"], after["retries"], after["next_run_at"]) == ("retrying", 2, "2027-05-01T00:00:00.000000Z")


def test_a_job_cannot_be_moved_past_its_expiry(api: str, producer: Producer) -> None:
    job = job_in(api, producer, JobStatus.PENDING, expires_at=utc_now() + timedelta(days=1))
    reply = producer.patch(f"/jobs/{job}", {"scheduled_at": "2099-01-01T00:00:00Z"})
    assert reply.status == 409
    assert "expires_at" in reply.json["detail"]


def test_what_falls_due_soon_is_announced_and_the_rest_is_not(api: str, producer: Producer) -> None:
    for event in (Event.RUN_NOW, Event.REDRIVE):
        status = JobStatus.RETRYING if event is Event.RUN_NOW else JobStatus.FAILED
        before = wiring.ready_set().depth(utc_now()).size
        producer.call(EVENTS[event][0], EVENTS[event][1].format(job_in(api, producer, status)))
        assert wiring.ready_set().depth(utc_now()).size == before + 1
    size = wiring.ready_set().depth(utc_now()).size
    job = job_in(api, producer, JobStatus.PENDING)
    producer.patch(f"/jobs/{job}", {"scheduled_at": "2099-01-01T00:00:00Z"})
    assert wiring.ready_set().depth(utc_now()).size == size
    producer.patch(f"/jobs/{job}", {"scheduled_at": "2001-01-01T00:00:00Z"})
    assert wiring.ready_set().depth(utc_now()).size == size + 1


def test_cancelling_a_running_job_ends_its_attempt_and_tells_the_executor(api: str, producer: Producer) -> None:
    """I3: the attempt's own result finds no place any more."""
    started = utc_now()
    job = job_in(api, producer, JobStatus.RUNNING, attempt=2)
    reply = producer.delete(f"/jobs/{job}")
    assert (reply.status, reply.json["status"]) == (200, "cancelled")
    ended = producer.get(f"/jobs/{job}/executions").json["items"]
    assert [(attempt["attempt"], attempt["outcome"]) for attempt in ended] == [(2, "cancelled")]
    assert wiring.ready_set().cancelled_since(started) == [job]


def test_cancelling_a_waiting_job_makes_no_attempt(api: str, producer: Producer) -> None:
    job = job_in(api, producer, JobStatus.PENDING)
    assert producer.delete(f"/jobs/{job}").json["next_run_at"] is None
    assert producer.get(f"/jobs/{job}/executions").json["items"] == []


def test_a_redrive_starts_the_retries_anew_and_counts_attempts_on(api: str, producer: Producer) -> None:
    past = utc_now() - timedelta(minutes=1)
    job = job_in(
        api, producer, JobStatus.FAILED, attempt=4, retries=3, rescues=5, expires_at=past, target='{"type":"http"}'
    )
    after = producer.post(f"/jobs/{job}/retry").json
    assert (after["status"], after["attempt"], after["retries"], after["polls"]) == ("pending", 4, 0, 0)
    assert (after["expires_at"], after["completed_at"]) == (None, None)
    assert job_row(api, job)["rescues"] == 0


def test_a_redrive_keeps_an_expiry_that_lies_ahead(api: str, producer: Producer) -> None:
    job = job_in(api, producer, JobStatus.CANCELLED, expires_at=utc_now() + timedelta(days=1))
    assert producer.post(f"/jobs/{job}/retry").json["expires_at"] is not None
