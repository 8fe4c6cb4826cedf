"""The running stack: no route opens without a good key, and stores that go away come back without anybody's help."""

import os
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from bench.stack import StackProcess, own_stack
from dev.redis import RedisServer
from hosting.template import Route, read_template
from scheduler_core.clock import utc_now
from scheduler_core.security import api_keys as keys
from scheduler_core.storage import api_keys
from scheduler_core.storage.database import Database, Role
from tests.builders import new_id
from tests.conftest import BreakablePostgres, hanging

ROOT = Path(__file__).parents[2]
EVERY_ROUTE = read_template(ROOT / "template.yaml").routes
KEYLESS = {"GET /health", "GET /openapi.json", "GET /docs"}


@pytest.fixture
def stack(postgres: BreakablePostgres, redis_server: RedisServer) -> Iterator[StackProcess]:
    environment = {"DATABASE_URL": postgres.url, "REDIS_URL": redis_server.url}
    with tempfile.TemporaryDirectory(prefix="task-scheduler-e2e-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with own_stack(Path(folder), environment) as running:
            yield running


@pytest.fixture
def client(stack: StackProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.address.url, timeout=10) as client:
        yield client


def status_of(client: httpx.Client, route: Route, key: str | None) -> tuple[int, str]:
    path = route.path.replace("{id}", str(new_id())).replace("{job_id}", str(new_id()))
    answer = client.request(route.method, path, headers={} if key is None else {"x-api-key": key})
    return answer.status_code, answer.headers["content-type"]


def a_key(stack: StackProcess, **columns: Any) -> str:
    """A key of the demo merchant."""
    new = keys.generate("local", os.urandom(64))
    given = {"permissions": ["jobs:read", "jobs:write", "templates:read", "templates:write"], "expires_at": None}
    database = Database(stack.facts["database_url"], Role.WORKER)
    with database.transaction() as connection:
        api_keys.create(
            connection,
            UUID(stack.facts["merchant_id"]),
            key_id=new.id,
            environment="local",
            secret_sha256=new.secret_sha256,
            name="a test's",
            now=utc_now(),
            **(given | columns),
        )
    database.close()
    return new.plaintext


def completed(client: httpx.Client, headers: dict[str, str], job_id: str, seconds: float) -> bool:
    """Whether the job is completed within so many seconds."""
    deadline = time.monotonic() + seconds
    while client.get(f"/jobs/{job_id}", headers=headers).json().get("status") != "completed":
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_no_route_opens_without_a_good_key(
    stack: StackProcess, client: httpx.Client, subtests: pytest.Subtests
) -> None:
    good = str(stack.address.key)
    mistyped = good[:-1] + ("a" if good[-1] != "a" else "b")
    bad = {
        "mistyped": mistyped,
        "expired": a_key(stack, expires_at=utc_now() - timedelta(seconds=1)),
        "never made": keys.generate("local", os.urandom(64)).plaintext,
        "nonsense": "x",
    }
    problem = "application/problem+json"
    for route in EVERY_ROUTE:
        with subtests.test(route=route.key):
            if route.key in KEYLESS:
                assert status_of(client, route, None)[0] == 200
                continue
            assert status_of(client, route, None) == (401, problem)
            answers = {name: status_of(client, route, key) for name, key in bad.items()}
            assert answers == dict.fromkeys(bad, (403, problem))
            assert status_of(client, route, a_key(stack, permissions=[])) == (403, problem)


def test_with_redis_away_jobs_are_accepted_and_delivered_on_its_return(
    stack: StackProcess, client: httpx.Client, redis_server: RedisServer
) -> None:
    headers = {"x-api-key": str(stack.address.key)}
    body = {"target": {"type": "http", "url": f"{stack.facts['echo_url']}/hook"}}
    redis_server.stop()
    answers = [client.post("/jobs", json=body, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert client.get("/health").json()["status"] == "degraded"
    redis_server.start()
    assert all(completed(client, headers, answer.json()["id"], 10) for answer in answers)
    assert client.get("/health").json()["status"] == "ok"


def test_what_is_asked_for_while_redis_hangs_is_delivered_when_it_goes_on(
    stack: StackProcess, client: httpx.Client, redis_server: RedisServer
) -> None:
    """It has lost nothing, and so knows of nothing that it was not told; also not of what came a moment later, while
    the API still left it alone. The watcher does not see to it where an executor is awake, as here for a later job."""
    headers = {"x-api-key": str(stack.address.key)}
    body = {"target": {"type": "http", "url": f"{stack.facts['echo_url']}/hook"}}
    assert client.post("/jobs", json=body | {"delay_seconds": 60}, headers=headers).status_code == 201
    answers: list[httpx.Response] = []
    with hanging(redis_server):
        answers += [client.post("/jobs", json=body, headers=headers, timeout=30) for _ in range(3)]
    for _ in range(3):
        time.sleep(0.6)
        answers.append(client.post("/jobs", json=body, headers=headers))
    assert [answer.status_code for answer in answers] == [201] * 6
    assert all(completed(client, headers, answer.json()["id"], 5) for answer in answers)


def test_with_postgres_away_the_api_says_so_and_recovers_by_itself(
    stack: StackProcess, client: httpx.Client, postgres: BreakablePostgres
) -> None:
    headers = {"x-api-key": str(stack.address.key)}
    body = {"target": {"type": "http", "url": f"{stack.facts['echo_url']}/hook"}}
    assert client.post("/jobs", json=body, headers=headers).status_code == 201
    postgres.stop()
    for key in (headers["x-api-key"], keys.generate("local", os.urandom(64)).plaintext):
        refused = client.post("/jobs", json=body, headers={"x-api-key": key})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert "Traceback" not in refused.text
    assert client.get("/health").status_code == 503
    postgres.start()
    accepted = client.post("/jobs", json=body, headers=headers)
    assert accepted.status_code == 201
    assert completed(client, headers, accepted.json()["id"], 10)
