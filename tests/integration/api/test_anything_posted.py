"""Whatever is posted, the answer is 201 or a problem of the producer's, never a fault of ours."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.producer import TARGET, Producer, Reply

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=20)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
TIMES = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z") | ANY_JSON
TARGETS = (
    st.just(TARGET)
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["http", "lambda", "sqs"]) | ANY_JSON},
        optional={
            "url": st.sampled_from(["http://127.0.0.1/", "http://127.0.0.1:1/é?#"]) | ANY_TEXT | ANY_JSON,
            "method": st.sampled_from(["GET", "POST"]) | ANY_JSON,
            "headers": st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3) | ANY_JSON,
            "arn": ANY_JSON,
        },
    )
    | ANY_JSON
)
NUMBERS = st.integers() | st.floats() | ANY_JSON
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "payload": ANY_JSON,
    "scheduled_at": TIMES,
    "delay_seconds": NUMBERS,
    "reference_id": ANY_JSON,
    "priority": NUMBERS,
    "max_retries": NUMBERS,
    "retry": st.fixed_dictionaries({}, optional={"initial_seconds": NUMBERS, "max_seconds": NUMBERS}) | ANY_JSON,
    "timeout_seconds": NUMBERS,
    "expires_at": TIMES,
    "metadata": st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3) | ANY_JSON,
    "schedule_type": st.sampled_from(["one_time", "polling", "recurring"]) | ANY_JSON,
    "interval_seconds": NUMBERS,
    "max_attempts": NUMBERS,
}
BODIES = st.fixed_dictionaries({"target": TARGETS}, optional=FIELDS) | ANY_JSON
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def is_an_answer(reply: Reply, success: int) -> None:
    """A success, or a problem that blames the request."""
    if reply.status != success:
        assert 400 <= reply.status < 500, reply
        assert reply.media_type == "application/problem+json"
        json.loads(reply.text)


@given(body=BODIES)
@RELAXED
def test_any_job(producer: Producer, body: Any) -> None:
    reply = producer.post("/jobs", body)
    is_an_answer(reply, 201)
    if reply.status == 201:
        assert producer.get(reply.headers["location"]).text == reply.text


@given(jobs=st.lists(BODIES, max_size=3))
@settings(RELAXED, max_examples=50)
def test_any_batch(producer: Producer, jobs: list[Any]) -> None:
    reply = producer.post("/jobs/batch", {"jobs": jobs})
    is_an_answer(reply, 200)
    if reply.status == 200:
        assert reply.json["created"] + reply.json["failed"] == len(jobs)


@given(change=st.fixed_dictionaries({}, optional=FIELDS | {"target": TARGETS}) | ANY_JSON)
@settings(RELAXED, max_examples=75)
def test_any_change(producer: Producer, change: Any) -> None:
    job = producer.post("/jobs", {"target": TARGET}).headers["location"]
    is_an_answer(producer.patch(job, change), 200)


@given(raw=st.text(st.characters(exclude_categories=[]), max_size=60))
@settings(RELAXED, max_examples=75)
def test_any_text(producer: Producer, raw: str) -> None:
    is_an_answer(producer.post("/jobs", raw=raw), 201)


@given(
    path=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    query=st.dictionaries(
        st.sampled_from(["limit", "cursor", "status", "reference_id", "scheduled_from"]) | ANY_TEXT,
        ANY_TEXT,
        max_size=3,
    ),
)
@settings(RELAXED, max_examples=75)
def test_any_query(producer: Producer, path: str, query: dict[str, str]) -> None:
    from tests.producer import call, event_of

    for place in ("/jobs", f"/jobs/{path}"):
        event = event_of("GET", "/jobs", authorizer=producer.authorizer)
        event |= {"rawPath": place, "queryStringParameters": query}
        event["requestContext"]["http"]["path"] = place
        is_an_answer(call(event), 200)
