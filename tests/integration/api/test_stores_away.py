"""PostgreSQL or Redis away: what is answered, how fast, and that it is well again afterwards."""

import socket
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from api import wiring
from dev.redis import RedisServer
from scheduler_core.storage import jobs
from tests.builders import store_merchant
from tests.conftest import BreakablePostgres
from tests.producer import TARGET, Producer, call, event_of

HEALTH = event_of("GET", "/health")


@pytest.fixture
def api(redis_server: RedisServer, postgres: BreakablePostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The API over stores that may be broken."""
    monkeypatch.setenv("DATABASE_URL", postgres.url)
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    monkeypatch.setenv("ALLOWED_TARGET_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
    wiring.reset()
    yield postgres.url
    wiring.reset()


def test_both_there_is_ok(api: str) -> None:
    reply = call(HEALTH)
    assert (reply.status, reply.json) == (200, {"status": "ok", "stores": {"database": "ok", "redis": "ok"}})


def test_redis_away_is_degraded_and_jobs_are_accepted_quickly(api: str, redis_server: RedisServer) -> None:
    """I1: Redis is a cache."""
    producer = Producer(store_merchant(api))
    redis_server.stop()
    started = time.monotonic()
    job = producer.post("/jobs", {"target": TARGET})
    assert job.status == 201
    assert producer.post("/jobs/batch", {"jobs": [{"target": TARGET}]}).json["created"] == 1
    assert producer.delete(job.headers["location"]).status == 200
    assert time.monotonic() - started < 3
    reply = call(HEALTH)
    assert (reply.status, reply.json) == (200, {"status": "degraded", "stores": {"database": "ok", "redis": "down"}})
    redis_server.start()
    assert call(HEALTH).json["status"] == "ok"


def test_a_redis_that_is_full_is_degraded_and_jobs_are_accepted(api: str, redis_server: RedisServer) -> None:
    """Where a job is stored nobody may be told otherwise: whoever hears of a failure asks for it once more."""
    producer = Producer(store_merchant(api))
    assert producer.post("/jobs", {"target": TARGET}).status == 201
    with Redis.from_url(redis_server.url) as owner:
        owner.config_set("maxmemory", "1")
        job = producer.post("/jobs", {"target": TARGET})
        assert job.status == 201
        assert producer.post("/jobs/batch", {"jobs": [{"target": TARGET}]}).json["created"] == 1
        assert producer.delete(job.headers["location"]).status == 200
        assert call(HEALTH).json["status"] == "degraded"
        owner.config_set("maxmemory", "0")
    assert call(HEALTH).json["status"] == "ok"


def test_redis_that_hangs_costs_the_health_check_less_than_two_seconds(
    api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        wiring.reset()
        started = time.monotonic()
        assert call(HEALTH).json["stores"] == {"database": "ok", "redis": "down"}
        assert time.monotonic() - started < 2.5


def test_the_database_away_is_a_503_that_says_when_to_come_back(api: str, postgres: BreakablePostgres) -> None:
    producer = Producer(store_merchant(api))
    job = producer.post("/jobs", {"target": TARGET}).headers["location"]
    postgres.stop()
    requests = [
        ("POST", "/jobs", {"target": TARGET}),
        ("GET", job, None),
        ("GET", "/stats", None),
        ("DELETE", job, None),
    ]
    for method, path, body in requests:
        reply = producer.call(method, path, body)
        assert (reply.status, reply.media_type) == (503, "application/problem+json")
        assert reply.headers["retry-after"] == "5"
        assert "Traceback" not in reply.text
        assert "psycopg" not in reply.text
    health = call(HEALTH)
    assert (health.status, health.json["stores"]) == (503, {"database": "down", "redis": "ok"})
    assert health.headers["retry-after"] == "5"
    postgres.start()
    assert producer.get(job).status == 200
    assert call(HEALTH).status == 200


def test_a_restart_of_the_database_between_requests_is_not_noticed(api: str, postgres: BreakablePostgres) -> None:
    producer = Producer(store_merchant(api))
    job = producer.post("/jobs", {"target": TARGET}).headers["location"]
    postgres.restart()
    assert producer.get(job).status == 200
    postgres.kill()
    postgres.start()
    assert producer.get(job).status == 200


def test_what_is_our_fault_is_an_opaque_500_and_logged_once_with_its_cause(
    api: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("the reason, for our eyes only")

    monkeypatch.setattr(jobs, "counts", broken)
    reply = Producer(store_merchant(api)).get("/stats")
    assert (reply.status, reply.media_type) == (500, "application/problem+json")
    assert "reason" not in reply.text
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "for our eyes only" in str(record.exc_info[1])
