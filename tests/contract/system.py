"""A running system as a producer and a receiver see it, and what an operator makes for them: merchants and keys."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx

from scheduler_core.clock import utc_now
from scheduler_core.security import api_keys as keys
from scheduler_core.storage import api_keys
from scheduler_core.storage.database import Database, Role

Answer = httpx.Response


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Where everything is. `target_url` is the echo as deliveries reach it, `echo_url` the same as the tests do."""

    url: str
    database_url: str
    echo_url: str
    target_url: str
    gateway: str
    patience_seconds: float

    def key(
        self, merchant_id: UUID, *, permissions: Sequence[str] = keys.PERMISSIONS, expires_at: datetime | None = None
    ) -> str:
        """A new key of a merchant."""
        new = keys.generate("local", os.urandom(keys.ENTROPY_BYTES))
        database = Database(self.database_url, Role.WORKER)
        try:
            with database.transaction() as connection:
                api_keys.create(
                    connection,
                    merchant_id,
                    key_id=new.id,
                    environment="local",
                    secret_sha256=new.secret_sha256,
                    name="of the contract tests",
                    permissions=permissions,
                    expires_at=expires_at,
                    now=utc_now(),
                )
        finally:
            database.close()
        return new.plaintext

    @contextmanager
    def caller(self, key: str | None) -> "Iterator[Caller]":
        """Someone who calls with this key, or with none."""
        headers = {} if key is None else {"x-api-key": key}
        with httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False) as client:
            yield Caller(client, self.patience_seconds)


@dataclass(frozen=True, slots=True)
class Caller:
    """A producer."""

    http: httpx.Client
    patience_seconds: float

    def get(self, path: str) -> Answer:
        return self.http.get(path)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.http.post(
            path, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    def patch(self, path: str, body: Any) -> Answer:
        return self.http.patch(path, json=body)

    def delete(self, path: str) -> Answer:
        return self.http.delete(path)

    def made(self, path: str, body: Any) -> dict[str, Any]:
        """What was created."""
        answer = self.post(path, body)
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == f"{path}/{answer.json()['id']}"
        created: dict[str, Any] = answer.json()
        return created

    def job(self, job_id: str) -> dict[str, Any]:
        """A job as it is now."""
        found: dict[str, Any] = self.get(f"/jobs/{job_id}").json()
        return found

    def ended(self, job_id: str, status: str) -> dict[str, Any]:
        """A job once it has this status."""
        job: dict[str, Any] = {}

        def looks() -> bool:
            job.update(self.job(job_id))
            return bool(job["status"] == status)

        assert within(self.patience_seconds, looks), f"not {status}: {job}"
        return job

    def outcomes(self, job_id: str) -> list[tuple[str, int | None]]:
        """How each attempt of a job went: outcome and the target's status."""
        items = self.get(f"/jobs/{job_id}/executions").json()["items"]
        return [(each["outcome"], each["http_status"]) for each in items]


@dataclass(frozen=True, slots=True)
class Echo:
    """The receiver: `at` is how deliveries reach it, `of` what came for a job."""

    http: httpx.Client
    url: str
    patience_seconds: float

    def at(self, path: str = "/hook") -> dict[str, Any]:
        """A target. Its query says how it answers: `?status=503`, `?fail_first=2`, `?delay_ms=250`."""
        return {"type": "http", "url": f"{self.url}{path}"}

    def of(self, job_id: str, count: int = 1) -> list[dict[str, Any]]:
        """The deliveries of a job, once there are so many."""
        found: list[dict[str, Any]] = []

        def arrived() -> bool:
            items = self.http.get("/received", params={"limit": 1_000}).json()["items"]
            found[:] = [each for each in items if each["webhook_id"] == job_id]
            return len(found) >= count

        assert within(self.patience_seconds, arrived), f"{len(found)} of {count} deliveries of {job_id} came"
        return found


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether something comes true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def pointers(answer: Answer) -> set[str]:
    """What a 422 points at."""
    assert answer.status_code == 422, answer.text
    return {each["pointer"] for each in answer.json()["errors"]}
