"""`GET /jobs` and `GET /jobs/{id}/executions`: filters, pages, cursors."""

import base64
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_core.domain.ids import lowest_id
from scheduler_core.storage import jobs as storage
from tests.builders import NOW, new_id, store_jobs
from tests.producer import TARGET, Producer


def pages(producer: Producer, **query: Any) -> Iterator[list[dict[str, Any]]]:
    """The items of each page, to the end."""
    cursor: dict[str, str] = {}
    while True:
        reply = producer.get(f"/jobs?{urlencode(query | cursor)}")
        assert reply.status == 200, reply
        yield reply.json["items"]
        if reply.json["next_cursor"] is None:
            return
        cursor = {"cursor": reply.json["next_cursor"]}


def ids(producer: Producer, **query: Any) -> list[str]:
    """The ids of every page, in order."""
    return [job["id"] for page in pages(producer, **query) for job in page]


def test_pages_are_newest_first_and_end_with_a_null_cursor(api: str, producer: Producer) -> None:
    stored = sorted(map(str, store_jobs(api, producer.merchant_id, 7)), reverse=True)
    found = list(pages(producer, limit=3))
    assert [len(page) for page in found] == [3, 3, 1]
    assert [job["id"] for page in found for job in page] == stored


def test_an_empty_list_is_a_page(producer: Producer) -> None:
    assert producer.get("/jobs").json == {"items": [], "next_cursor": None}


def test_a_page_that_ends_exactly_with_the_jobs_has_no_next(api: str, producer: Producer) -> None:
    store_jobs(api, producer.merchant_id, 3)
    assert [len(page) for page in pages(producer, limit=3)] == [3]


def test_filters_narrow_alone_and_together(api: str, producer: Producer) -> None:
    template = new_id()
    of_template = store_jobs(api, producer.merchant_id, 2, template_id=template)
    ended: dict[str, Any] = {"next_run_at": None, "completed_at": NOW}
    failed = store_jobs(api, producer.merchant_id, 2, status="failed", **ended)
    done = store_jobs(api, producer.merchant_id, status="completed", template_id=template, **ended)
    later = store_jobs(api, producer.merchant_id, scheduled_at=NOW.replace(year=2199))
    named = producer.post("/jobs", {"target": TARGET, "reference_id": "order 5, second"}).json["id"]

    assert set(ids(producer, status="failed")) == set(map(str, failed))
    assert set(ids(producer, status="failed,cancelled,expired")) == set(map(str, failed))
    assert set(ids(producer, status="failed,completed")) == set(map(str, failed + done))
    assert set(ids(producer, template_id=template)) == set(map(str, of_template + done))
    assert ids(producer, template_id=template, status="completed") == [str(done[0])]
    assert ids(producer, reference_id="order 5, second") == [named]
    assert ids(producer, reference_id="order 5, second", template_id=template) == []
    assert ids(producer, scheduled_from="2199-11-23T12:00:00Z") == [str(later[0])]
    assert str(later[0]) not in ids(producer, scheduled_to="2199-11-23T12:00:00Z")
    assert ids(producer, scheduled_from="2199-11-23T13:00:00+01:00", scheduled_to="2199-11-23T12:00:00.001Z") == [
        str(later[0])
    ]


def test_a_page_looks_at_a_bounded_number_of_jobs(
    api: str, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I8: a filter that matches little gives short pages, and misses nothing."""
    monkeypatch.setattr(storage, "SCAN_ROWS", 10)
    wanted = store_jobs(api, producer.merchant_id, status="completed", next_run_at=None, completed_at=NOW)
    store_jobs(api, producer.merchant_id, 25, now=NOW + timedelta(seconds=1))
    found = list(pages(producer, status="completed"))
    assert [len(page) for page in found] == [0, 0, 1]
    assert found[-1][0]["id"] == str(wanted[0])


def test_a_page_is_bounded_in_bytes(producer: Producer) -> None:
    """I8: two hundred payloads of 256 KiB would not fit into an answer."""
    for _ in range(12):
        producer.post("/jobs", {"target": TARGET, "payload": "x" * 250_000})
    found = list(pages(producer, limit=200))
    assert [len(page) for page in found] == [8, 4]


@given(
    first=st.integers(0, 12),
    limit=st.integers(1, 5),
    arrivals=st.lists(st.integers(0, 4), max_size=8),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_inserts_between_pages_neither_repeat_nor_lose_a_job(
    api: str, producer: Producer, first: int, limit: int, arrivals: list[int]
) -> None:
    template = new_id()
    before = {str(job) for job in store_jobs(api, producer.merchant_id, first, template_id=template)}
    seen: list[str] = []
    later = iter(arrivals)
    for second, page in enumerate(pages(producer, limit=limit, template_id=template), start=1):
        seen += [job["id"] for job in page]
        moment = NOW + timedelta(seconds=second)
        store_jobs(api, producer.merchant_id, next(later, 0), now=moment, template_id=template)
    assert len(seen) == len(set(seen))
    assert before <= set(seen)


BAD_CURSORS = ["x", "!!!!", "AQ", "", "a" * 64, "a" * 65, "%00", "%ff", base64.urlsafe_b64encode(b"\x07" * 17).decode()]


def test_a_cursor_of_ones_own_making_is_refused(api: str, producer: Producer) -> None:
    job = store_jobs(api, producer.merchant_id)[0]
    for path in ("/jobs", f"/jobs/{job}/executions"):
        for cursor in BAD_CURSORS:
            reply = producer.get(f"{path}?cursor={cursor}")
            assert (reply.status, reply.json["errors"][0]["parameter"]) == (422, "cursor")


def test_a_cursor_of_another_list_is_refused(api: str, producer: Producer) -> None:
    job = store_jobs(api, producer.merchant_id, 2)[0]
    cursor = producer.get("/jobs?limit=1").json["next_cursor"]
    assert producer.get(f"/jobs/{job}/executions?cursor={cursor}").status == 422


BAD_QUERIES = [
    "limit=0", "limit=201", "limit=-1", "limit=x", "limit=1.5", "limit=", "limit=99999999999999999999999",
    "status=done", "status=", "status=pending,done", "template_id=x", "reference_id=", f"reference_id={'x' * 256}",
    "reference_id=a%00b", "scheduled_from=2026-11-23", "scheduled_to=yesterday", "scheduled_from=2026-11-23T00:00:00",
]  # fmt: skip


def test_a_bad_parameter_is_named(producer: Producer, subtests: pytest.Subtests) -> None:
    for query in BAD_QUERIES:
        with subtests.test(query=query[:30]):
            reply = producer.get(f"/jobs?{query}")
            assert reply.status == 422, reply
            assert {fault["parameter"] for fault in reply.json["errors"]} == {query.partition("=")[0]}


def test_attempts_are_listed_first_to_last_in_pages(api: str, producer: Producer) -> None:
    job = store_jobs(api, producer.merchant_id, attempt=5)[0]
    with psycopg.connect(api) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO executions (job_id, merchant_id, attempt, outcome, due_at, started_at, finished_at,"
            " http_status, error, response) VALUES (%s, %s, %s, 'retried', %s, %s, %s, 500, 'oh \"no\"', 'busy')",
            [(job, producer.merchant_id, attempt, NOW, NOW, NOW) for attempt in range(1, 6)],
        )
    first = producer.get(f"/jobs/{job}/executions?limit=3").json
    assert [attempt["attempt"] for attempt in first["items"]] == [1, 2, 3]
    assert first["items"][0] == {
        "attempt": 1,
        "outcome": "retried",
        "due_at": "2026-11-23T12:00:00.000000Z",
        "started_at": "2026-11-23T12:00:00.000000Z",
        "finished_at": "2026-11-23T12:00:00.000000Z",
        "http_status": 500,
        "error": 'oh "no"',
        "response": "busy",
    }
    second = producer.get(f"/jobs/{job}/executions?limit=3&cursor={first['next_cursor']}").json
    assert ([attempt["attempt"] for attempt in second["items"]], second["next_cursor"]) == ([4, 5], None)


def test_a_job_keeps_its_place_in_a_week_without_a_partition(api: str, producer: Producer) -> None:
    long_ago = NOW - timedelta(days=400)
    old = store_jobs(api, producer.merchant_id, now=long_ago)[0]
    new = store_jobs(api, producer.merchant_id)[0]
    assert old < lowest_id(NOW - timedelta(days=30))
    assert ids(producer, limit=1) == [str(new), str(old)]
