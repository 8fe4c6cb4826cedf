"""A batch is judged in parts for speed; nothing may come of it that would not come of each job alone."""

import json
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.accepting import Rules, new_job
from api.batching import Batch, Targets
from api.faults import BodyTooLargeError, InvalidRequestError
from api.schemas.jobs import JobCreate
from scheduler_core.domain.ids import uuid7_hexes
from scheduler_core.domain.jobs import MAX_PAYLOAD_BYTES, NewJobs

NOW: Final = datetime(2026, 11, 26, tzinfo=UTC)
MERCHANT: Final = UUID(int=1)
URL: Final = "https://example.com/hook"
TARGETS: Final[list[Any]] = [
    {"type": "http", "url": URL},
    {"url": URL, "type": "http", "method": "PUT", "headers": {"x-one": "1"}},
    {"type": "sqs", "arn": "arn:aws:sqs:eu-west-1:123456789012:mine"},
    {"type": "sqs", "arn": "arn:aws:sqs:eu-west-1:123456789012:other"},
    {"type": "http", "url": 5},
    {"type": "http", "url": URL, "more": 1},
    None,
]
RULES: Final = Rules({URL: None}, ["arn:aws:sqs:eu-west-1:123456789012:mine"])
RETRIES: Final[list[Any]] = [{}, {"initial_seconds": 5}, {"initial_seconds": 7, "max_seconds": 6}, {"multiplier": 0}]
TIMES: Final = [None, "2027-01-31T09:30:00+01:00", "2026-11-26T00:00:00Z", "tomorrow"]
FIELDS: Final[dict[str, list[Any]]] = {
    "payload": [None, {"é": [1, None, 2.0]}, "\\u0000", "\x00", "x" * MAX_PAYLOAD_BYTES],
    "priority": [0, 100, 101, True, 1.0, "1"],
    "max_retries": [0, 3, -1],
    "retry": RETRIES,
    "timeout_seconds": [1, 300, 0],
    "metadata": [{}, {"a": "ö"}, {"a": 1}, {"a": "\x00"}],
    "scheduled_at": TIMES,
    "delay_seconds": [None, 0, 1.5, 60, -1],
    "reference_id": [None, "one", "", "\x00"],
    "expires_at": TIMES,
    "schedule_type": ["one_time", "polling", "weekly"],
    "interval_seconds": [None, 60, 0],
    "max_attempts": [None, 7, 0],
    "unheard_of": [1],
}
good_jobs = st.fixed_dictionaries(
    {"target": st.sampled_from(TARGETS[:3])},
    optional={name: st.sampled_from(FIELDS[name][:2]) for name in FIELDS if name != "unheard_of"},
)
jobs = st.fixed_dictionaries(
    {}, optional={"target": st.sampled_from(TARGETS), **{name: st.sampled_from(FIELDS[name]) for name in FIELDS}}
)
batches = st.one_of(
    st.lists(good_jobs, min_size=1, max_size=8),
    st.lists(st.one_of(good_jobs, jobs, st.none(), st.just([]), st.just("job")), min_size=1, max_size=8),
)


@given(batches, st.data())
def test_what_comes_of_a_batch_is_what_comes_of_each_of_its_jobs(items: list[Any], data: st.DataObject) -> None:
    entropy = data.draw(st.binary(min_size=10 * len(items), max_size=10 * len(items)))
    ids = uuid7_hexes(NOW, entropy)
    alone = [_alone(item, UUID(job_id)) for item, job_id in zip(items, ids, strict=True)]
    batch = Batch(items, Targets(items), RULES, MERCHANT, NOW, entropy)
    parts = list(batch.parts())
    good = [job for job, _ in alone if job is not None]
    assert [list(map(list, part)) for part in parts] == [list(map(list, NewJobs.of(good)))]
    told = json.loads(batch.answer.body)
    assert (told["created"], told["failed"]) == (len(good), len(items) - len(good))
    assert [item["status"] for item in told["items"]] == [status for _, status in alone]
    assert [UUID(item["id"]).hex for item in told["items"] if item["status"] == 201] == [job.id.hex for job in good]


def test_each_url_is_to_be_looked_up_once_and_none_that_is_no_url() -> None:
    items = [{"target": target} for target in TARGETS]
    assert (Targets(items).urls, Targets(items).has_arns) == ([URL], True)
    assert (Targets([*items[:2], 5]).urls, Targets(items[:2]).has_arns) == ([URL], False)


def _alone(item: Any, job_id: UUID) -> tuple[Any, int]:
    """The job, None where it is not good, and its status."""
    try:
        body = JobCreate.model_validate(item)
        job = new_job(body, job_id, MERCHANT, NOW)
    except (ValidationError, InvalidRequestError):
        return None, 422
    except BodyTooLargeError:
        return None, 413
    return (job, 201) if RULES.fault(body.target) is None else (None, 422)
