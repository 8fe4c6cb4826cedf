"""Announcing never fails a request: PostgreSQL has the job."""

from collections.abc import Iterator

import pytest

from scheduler_core.invocation.lambda_invoker import InvocationError
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services.announcing import Announcer
from scheduler_core.settings import QueueSettings
from tests.builders import NOW, hints, new_id, seconds


class Invocations(list[str]):
    """Remembers who was invoked; may be told to fail."""

    fails = False

    def invoke_async(self, function: str, payload: dict[str, object] | None = None) -> None:
        if self.fails:
            raise InvocationError("no")
        self.append(function)


@pytest.fixture
def invocations() -> Invocations:
    return Invocations()


@pytest.fixture
def queue(redis_url: str) -> Iterator[ReadySet]:
    queue = ReadySet.connect(QueueSettings(redis_url=redis_url))
    yield queue
    queue.close()


def announcer(queue: ReadySet, invocations: Invocations) -> Announcer:
    return Announcer(queue, invocations, executor_function="executor", horizon_seconds=90)


def test_what_is_due_within_the_horizon_is_announced_and_an_executor_woken(
    queue: ReadySet, invocations: Invocations
) -> None:
    merchant = new_id()
    near, far = hints(merchant, [new_id()]), hints(merchant, [new_id()], due_at=NOW + seconds(91))
    announcer(queue, invocations).announce(NOW, near + far)
    assert queue.depth(NOW).size == 1
    assert invocations == ["executor"]


def test_nothing_near_costs_nothing(queue: ReadySet, invocations: Invocations) -> None:
    announcer(queue, invocations).announce(NOW, hints(new_id(), [new_id()], due_at=NOW + seconds(1_000)))
    assert invocations == []


def test_i1_with_redis_away_an_executor_is_asked_to_wait_for_it_once(invocations: Invocations) -> None:
    away = ReadySet.connect(QueueSettings(redis_url="redis://127.0.0.1:1"))
    one = announcer(away, invocations)
    for _ in range(5):
        one.announce(NOW, hints(new_id(), [new_id()]))
    one.announce_cancelled(NOW, hints(new_id(), [new_id()])[0])
    assert invocations == ["executor"]
    away.close()


def test_an_executor_that_cannot_be_invoked_is_no_error(queue: ReadySet, invocations: Invocations) -> None:
    invocations.fails = True
    announcer(queue, invocations).announce(NOW, hints(new_id(), [new_id()]))
    assert queue.depth(NOW).size == 1
