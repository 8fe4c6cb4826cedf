"""Whatever is posted, the answer is 201 or a problem of the producer's, never a fault of ours."""

import json
from datetime import datetime
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.producer import TARGET, Producer, Reply, call, event_of

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
SENSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "payload": st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    ),
    "scheduled_at": st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31)).map(lambda t: f"{t.isoformat()}Z"),  # noqa: DTZ001 - naive bounds are asked for
    "reference_id": st.text(min_size=1, max_size=255),
    "priority": st.integers(-101, 101),
    "retry": st.fixed_dictionaries({}, optional={"initial_seconds": st.floats(0, 9), "max_seconds": st.floats(9, 99)}),
    "metadata": st.dictionaries(st.text(min_size=1), st.text(), max_size=3),
}
ONE_STRANGE_FIELD = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda name: st.fixed_dictionaries({"target": st.just(TARGET), name: FIELDS[name]})
)
BODIES = (
    st.fixed_dictionaries({"target": st.just(TARGET)}, optional=SENSIBLE)
    | ONE_STRANGE_FIELD
    | st.fixed_dictionaries({"target": TARGETS}, optional=FIELDS)
    | ANY_JSON
)
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
    event(f"answered {reply.status}")
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
    for place in ("/jobs", f"/jobs/{path}"):
        request = event_of("GET", "/jobs", authorizer=producer.authorizer)
        request |= {"rawPath": place, "queryStringParameters": query}
        request["requestContext"]["http"]["path"] = place
        is_an_answer(call(request), 200)
