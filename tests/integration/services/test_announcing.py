"""Announcing never fails a request: PostgreSQL has the job."""

import time
from collections.abc import Iterator

import pytest
from redis import Redis

from dev.redis import RedisServer
from scheduler_core.clock import monotonic
from scheduler_core.domain.jobs import Hint
from scheduler_core.invocation.lambda_invoker import InvocationError
from scheduler_core.queueing.ready_set import BASE_KEY, Progress, ReadySet
from scheduler_core.services import announcing
from scheduler_core.services.announcing import LATER, Announcer
from scheduler_core.settings import QueueSettings
from tests.builders import NOW, hints, new_id, seconds
from tests.conftest import hanging


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


@pytest.fixture
def onlooker(redis_url: str) -> Iterator[ReadySet]:
    """Another's view of the same set."""
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


def test_what_is_due_later_is_told_while_its_job_is_stored(
    queue: ReadySet, onlooker: ReadySet, invocations: Invocations
) -> None:
    for count in (1, 2):  # the first opens the connection, and waits for that
        with announcer(queue, invocations).beside(NOW, later()):
            assert sizes(onlooker, until=count) == count
    assert queue.depth(NOW).size == 2
    assert invocations == ["executor"]


def test_what_is_due_sooner_is_told_after_its_job_is_stored(
    queue: ReadySet, onlooker: ReadySet, invocations: Invocations
) -> None:
    with announcer(queue, invocations).beside(NOW, sooner()):
        assert onlooker.depth(NOW).size == 0
    assert onlooker.depth(NOW).size == 1
    assert invocations == ["executor"]


def test_nothing_is_told_of_a_job_due_soon_that_could_not_be_stored(queue: ReadySet, invocations: Invocations) -> None:
    with pytest.raises(ZeroDivisionError), announcer(queue, invocations).beside(NOW, sooner()):
        raise ZeroDivisionError
    assert queue.depth(NOW).size == 0
    assert invocations == []


def test_a_job_that_could_not_be_stored_leaves_the_set_fit_for_use(queue: ReadySet, invocations: Invocations) -> None:
    one = announcer(queue, invocations)
    one.announce(NOW, [later()])
    with pytest.raises(ZeroDivisionError), one.beside(NOW, later()):
        raise ZeroDivisionError
    assert queue.depth(NOW).size == 2
    one.announce(NOW, [later()])
    assert queue.depth(NOW).size == 3


def test_i1_with_redis_away_a_job_is_stored_all_the_same(invocations: Invocations) -> None:
    away = ReadySet.connect(QueueSettings(redis_url="redis://127.0.0.1:1"))
    one, stored = announcer(away, invocations), 0
    for _ in range(3):
        with one.beside(NOW, later()):
            stored += 1
    assert stored == 3
    assert invocations == ["executor"]
    away.close()


@pytest.mark.parametrize("meanwhile", ["SCRIPT FLUSH", "CLIENT KILL TYPE normal SKIPME yes"])
def test_a_redis_that_was_restarted_is_told_again(
    queue: ReadySet, redis_url: str, invocations: Invocations, meanwhile: str
) -> None:
    one = announcer(queue, invocations)
    one.announce(NOW, [later()])
    with Redis.from_url(redis_url) as other:
        other.execute_command(*meanwhile.split())
    with one.beside(NOW, later()):
        pass
    assert queue.depth(NOW).size == 2


def test_a_redis_that_ends_while_a_job_is_stored_is_no_error(
    redis_server: RedisServer, invocations: Invocations
) -> None:
    queue = ReadySet.connect(QueueSettings(redis_url=redis_server.url))
    one = announcer(queue, invocations)
    one.announce(NOW, [later()])
    with Redis.from_url(redis_server.url) as other:
        other.client_pause(10_000)
    with one.beside(NOW, later()):
        redis_server.stop()
    assert invocations == ["executor", "executor"]
    queue.close()


def test_a_redis_that_does_not_answer_is_left_alone(redis_server: RedisServer, invocations: Invocations) -> None:
    queue = ReadySet.connect(QueueSettings(redis_url=redis_server.url, redis_timeout_seconds=0.2))
    one = announcer(queue, invocations)
    one.announce(NOW, [later()])
    with Redis.from_url(redis_server.url) as other:
        other.client_pause(10_000)
        with one.beside(NOW, later()):
            pass
        began = monotonic()
        with one.beside(NOW, later()):
            pass
        assert monotonic() - began < 0.2
    assert invocations == ["executor", "executor"]
    queue.close()


def test_a_fault_of_ours_is_told_in_the_log_and_not_to_the_producer(
    queue: ReadySet, redis_url: str, invocations: Invocations, caplog: pytest.LogCaptureFixture
) -> None:
    with Redis.from_url(redis_url) as client:
        client.set(f"{BASE_KEY}:ring", "no sorted set")
    one = announcer(queue, invocations)
    for _ in range(3):
        one.announce(NOW, hints(new_id(), [new_id()]))
    assert invocations == ["executor"]
    [logged] = caplog.records
    assert logged.exc_info is not None


def test_i1_whoever_found_redis_away_says_on_its_return_that_something_was_not_announced(
    redis_server: RedisServer, invocations: Invocations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The executor that was asked to may not have come: its invocation waits behind others."""
    monkeypatch.setattr(announcing, "PAUSE_SECONDS", 0.3)
    queue = ReadySet.connect(QueueSettings(redis_url=redis_server.url, redis_timeout_seconds=0.2))
    one = announcer(queue, invocations)
    one.announce(NOW, [later()])
    queue.mark_filled(NOW, Progress())
    with hanging(redis_server):
        one.announce(NOW, [sooner()])
    assert queue.is_whole()
    one.announce(NOW, [sooner()])  # is kept quiet about
    assert queue.is_whole()
    time.sleep(0.4)
    one.announce(NOW, [later()])
    assert not queue.is_whole()
    queue.mark_filled(NOW, Progress())
    one.announce(NOW, [later()])
    assert queue.is_whole()
    queue.close()


def later() -> Hint:
    """Of a job due so far ahead that Redis is told of it early."""
    return hints(new_id(), [new_id()], due_at=NOW + LATER)[0]


def sooner() -> Hint:
    """Of a job due a moment before that."""
    return hints(new_id(), [new_id()], due_at=NOW + LATER - seconds(0.001))[0]


def sizes(queue: ReadySet, *, until: int) -> int:
    """How many are in the set, once there are `until` of them or a while has passed."""
    end = monotonic() + 5
    while (size := queue.depth(NOW).size) != until and monotonic() < end:
        pass
    return size
