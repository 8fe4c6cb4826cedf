"""The executor's handler, invoked as Lambda would, against real stores and a real receiver."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from executor import handler
from scheduler_core.clock import utc_now
from scheduler_core.domain.jobs import Hint
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.settings import QueueSettings
from tests.builders import http_target, store_jobs, store_merchant
from tests.contexts import a_context
from tests.executors import forget_what_is_kept
from tests.receivers import Receiver, receiving


@dataclass(slots=True)
class Scene:
    """Stores, a merchant, a receiver, and a way to invoke the executor."""

    database_url: str
    redis_url: str
    receiver: Receiver
    merchant: UUID
    queue: ReadySet

    def jobs(self, path: str = "/ok", count: int = 1, *, due: datetime | None = None, **columns: Any) -> list[UUID]:
        """Jobs for the receiver's `path`, stored and announced."""
        due = due or utc_now()
        target = http_target(self.receiver.url + path)
        ids = store_jobs(
            self.database_url, self.merchant, count, now=utc_now(), **{"target": target, "next_run_at": due} | columns
        )
        self.queue.announce(utc_now(), [Hint(self.merchant, job_id, due, 0) for job_id in ids])
        return ids

    def invoke(self, *, seconds: float = 60, reason: str = "announced") -> dict[str, Any]:
        """One invocation of `seconds` at most."""
        return handler.lambda_handler({"reason": reason}, a_context(seconds))

    def invoke_beside(self, **more: Any) -> threading.Thread:
        """One invocation in a thread of its own."""
        thread = threading.Thread(target=self.invoke, kwargs=more)
        thread.start()
        return thread


@pytest.fixture
def scene(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with receiving() as receiver:
        yield from _scene(database_url, redis_url, receiver, monkeypatch)


def _scene(database_url: str, redis_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SIGNING_KEY": "k" * 32,
        "ALLOWED_TARGET_NETWORKS": "127.0.0.0/8",
        "AWS_ENDPOINT_URL_LAMBDA": receiver.url,
        "IDLE_SECONDS": "0.2",
        "LEASE_SECONDS": "2",
        "HEARTBEAT_SECONDS": "0.3",
        "JOB_EVENTS": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    forget_what_is_kept()
    queue = ReadySet.connect(QueueSettings(redis_url=redis_url))
    yield Scene(database_url, redis_url, receiver, store_merchant(database_url), queue)
    queue.close()
    forget_what_is_kept()
