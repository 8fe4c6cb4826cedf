"""`Idempotency-Key`: one request does the work, the others get its answer."""

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis

from api import changing, storing, wiring
from api.accepting import new_job
from api.callers import Caller
from api.rendering import job_json
from api.schemas.jobs import JobCreate
from scheduler_core.clock import utc_now
from scheduler_core.domain.ids import uuid7
from scheduler_core.domain.jobs import MerchantLimits
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.settings import QueueSettings
from scheduler_core.storage import idempotency
from scheduler_core.storage.database import Database, Role
from scheduler_core.storage.idempotency import Answer
from tests.builders import rows
from tests.producer import TARGET, Producer

KEY = {"idempotency-key": "order-5,first"}
JOB = {"target": TARGET, "payload": {"a": 1, "b": [2]}, "metadata": {"x": "1", "y": "2"}}


def count(api: str) -> int:
    """How many jobs there are."""
    found: int = rows(api, "SELECT count(*) AS jobs FROM jobs")[0]["jobs"]
    return found


@pytest.mark.parametrize(("path", "body"), [("/jobs", JOB), ("/jobs/batch", {"jobs": [JOB, {"target": 5}]})])
def test_the_same_request_again_gets_the_first_answer(api: str, producer: Producer, path: str, body: Any) -> None:
    first = producer.post(path, body, headers=KEY)
    again = producer.post(path, body, headers=KEY)
    assert again.text == first.text
    assert (again.status, again.headers.get("location")) == (first.status, first.headers.get("location"))
    assert (first.headers.get("idempotent-replayed"), again.headers.get("idempotent-replayed")) == (None, "true")
    assert count(api) == 1


@pytest.mark.parametrize(("path", "body"), [("/jobs", JOB), ("/jobs/batch", {"jobs": [JOB, {"target": 5}]})])
def test_i4_a_request_again_makes_up_for_an_announcement_that_was_never_made(
    api: str, producer: Producer, redis_url: str, path: str, body: Any
) -> None:
    """The first was killed between its commit and that: its job would wait for the next tick."""
    producer.post(path, body, headers=KEY)
    with Redis.from_url(redis_url) as owner:
        owner.flushall()
    producer.post(path, body, headers=KEY)
    [job] = rows(api, "SELECT id FROM jobs")
    with closing(ReadySet.connect(QueueSettings(redis_url=redis_url))) as queue:
        queue.set_terms([(MerchantLimits(merchant_id=producer.merchant_id), True)])
        popped = queue.pop(utc_now(), executor="one", token="t", most=10)
    assert [job_id for _, job_id in popped.hints] == [job["id"].hex]


def test_order_and_spelled_out_defaults_make_no_other_request(api: str, producer: Producer) -> None:
    first = producer.post("/jobs", JOB, headers=KEY)
    same = {"priority": 0, "metadata": {"y": "2", "x": "1"}, "payload": {"b": [2], "a": 1}, "target": TARGET}
    assert producer.post("/jobs", same, headers=KEY).json == first.json
    assert count(api) == 1


@pytest.mark.parametrize("change", [{"priority": 1}, {"payload": {"a": 1, "b": [3]}}, {"payload": None}])
def test_another_request_with_the_same_key_is_refused(api: str, producer: Producer, change: Any) -> None:
    producer.post("/jobs", JOB, headers=KEY)
    reply = producer.post("/jobs", JOB | change, headers=KEY)
    assert (reply.status, reply.media_type) == (422, "application/problem+json")
    assert "Idempotency-Key" in reply.json["detail"]
    assert count(api) == 1


def test_a_key_of_one_route_is_not_a_key_of_another(producer: Producer) -> None:
    producer.post("/jobs", JOB, headers=KEY)
    assert producer.post("/jobs/batch", {"jobs": [JOB]}, headers=KEY).status == 422


def test_merchants_keys_are_their_own(api: str, producer: Producer, stranger: Producer) -> None:
    """I7."""
    first = producer.post("/jobs", JOB, headers=KEY)
    other = stranger.post("/jobs", JOB, headers=KEY)
    assert (first.status, other.status) == (201, 201)
    assert first.json["id"] != other.json["id"]


def test_a_request_that_was_refused_holds_no_key(producer: Producer) -> None:
    assert producer.post("/jobs", JOB | {"priority": 500}, headers=KEY).status == 422
    assert producer.post("/jobs", JOB, headers=KEY).status == 201


def test_an_expired_key_is_free_again(api: str, producer: Producer) -> None:
    first = producer.post("/jobs", JOB, headers=KEY)
    rows(api, "UPDATE idempotency_keys SET expires_at = now() - interval '1 second' RETURNING key")
    other = producer.post("/jobs", JOB | {"priority": 1}, headers=KEY)
    assert (other.status, count(api)) == (201, 2)
    assert other.json["id"] != first.json["id"]
    assert producer.post("/jobs", JOB | {"priority": 1}, headers=KEY).json == other.json


def test_a_key_is_kept_for_24_hours(api: str, producer: Producer) -> None:
    producer.post("/jobs", JOB, headers=KEY)
    (row,) = rows(api, "SELECT expires_at FROM idempotency_keys")
    assert abs(row["expires_at"] - utc_now() - timedelta(hours=24)) < timedelta(seconds=10)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é", "a\x00", "a\n"])
def test_a_key_is_visible_ascii(producer: Producer, key: str) -> None:
    reply = producer.post("/jobs", JOB, headers={"idempotency-key": key})
    assert (reply.status, reply.json["errors"][0]["parameter"]) == (422, "idempotency-key")


@pytest.mark.parametrize("name", ["Idempotency-Key", "IDEMPOTENCY-KEY"])
def test_the_headers_name_may_be_in_any_case(api: str, producer: Producer, name: str) -> None:
    first = producer.post("/jobs", JOB, headers={name: "key, with a comma".replace(" ", "")})
    again = producer.post("/jobs", JOB, headers={"idempotency-key": "key,withacomma"})
    assert (again.text, count(api)) == (first.text, 1)


class _Silent:
    """Announces nothing."""

    def announce(self, now: Any, hints: Any) -> None:
        pass


def test_fifty_at_once_make_one_job_and_fifty_equal_answers(
    api: str, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread is a Lambda environment of its own: it has a connection of its own."""
    of_thread = threading.local()

    def database() -> Database:
        if not hasattr(of_thread, "database"):
            of_thread.database = Database(api, Role.API)
            databases.append(of_thread.database)
        found: Database = of_thread.database
        return found

    databases: list[Database] = []
    caller = Caller(producer.merchant_id, producer.key_id, frozenset(producer.permissions))
    body = JobCreate.model_validate(JOB)
    start = threading.Barrier(50)

    def post(number: int) -> str:
        now = utc_now()
        job_id = uuid7(now, number.to_bytes(10))
        new = new_job(body, job_id, producer.merchant_id, now)
        answer = Answer(201, f"/jobs/{job_id}", job_json(changing.as_stored(new, now)))
        start.wait()
        reply = storing.store(caller, new, answer, storing.once("key", "/jobs", JOB), now)
        assert reply.body is not None
        return reply.body

    with monkeypatch.context() as patched, ThreadPoolExecutor(50) as threads:
        patched.setattr(wiring, "database", database)
        patched.setattr(wiring, "announcer", _Silent)
        answers = set(threads.map(post, range(50)))
    for used in databases:
        used.close()
    assert len(answers) == 1
    assert count(api) == 1


def test_a_rival_takes_over_when_the_first_one_fails(api: str, producer: Producer) -> None:
    first, rival = Database(api, Role.API), Database(api, Role.API)

    def take(database: Database) -> Answer | None:
        with database.of_merchant(producer.merchant_id) as connection:
            return idempotency.take(connection, producer.merchant_id, key="k", request_sha256=bytes(32), now=utc_now())

    def fail(thread: ThreadPoolExecutor) -> Future[Answer | None]:
        waiting: Future[Answer | None] = Future()
        with contextlib.suppress(ZeroDivisionError), first.of_merchant(producer.merchant_id) as connection:
            idempotency.take(connection, producer.merchant_id, key="k", request_sha256=bytes(32), now=utc_now())
            waiting = thread.submit(take, rival)
            raise ZeroDivisionError
        return waiting

    with ThreadPoolExecutor(1) as thread, contextlib.closing(first), contextlib.closing(rival):
        assert fail(thread).result(5) is None
