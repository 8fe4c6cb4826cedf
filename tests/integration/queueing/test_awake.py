"""Who is awake: executors that arrive, those that may go, and that no announcement falls between the two."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from redis import Redis

from scheduler_core.domain.jobs import MerchantLimits
from scheduler_core.queueing.ready_set import Arrival, Progress, ReadySet
from scheduler_core.settings import QueueSettings
from tests.builders import NOW, hints, new_id, seconds
from tests.integration.queueing.conftest import until_listening


@pytest.fixture
def queue(redis_url: str) -> Iterator[ReadySet]:
    until_listening(redis_url, 0)  # no more of an earlier test's
    queue = ReadySet.connect(QueueSettings(redis_url=redis_url))
    queue.mark_filled(NOW, Progress())
    yield queue
    queue.close()


@pytest.fixture
def merchant(queue: ReadySet) -> UUID:
    merchant_id = new_id()
    queue.set_terms([(MerchantLimits(merchant_id=merchant_id), True)])
    return merchant_id


def announce(queue: ReadySet, merchant: UUID, *, at: float = 0, due: float = 0, count: int = 1) -> bool:
    jobs = [new_id() for _ in range(count)]
    return queue.announce(NOW + seconds(at), hints(merchant, jobs, due_at=NOW + seconds(due)))


def arrive(queue: ReadySet, name: str = "one", *, at: float = 0, ticked: bool = False, each: int = 100) -> Arrival:
    return queue.arrive(NOW + seconds(at), executor=name, jobs_per_executor=each, ticked=ticked)


def leave(queue: ReadySet, name: str = "one", *, at: float = 0, each: int = 100) -> bool:
    return queue.leave(NOW + seconds(at), executor=name, jobs_per_executor=each)


def test_with_nothing_due_nobody_is_needed_nor_counted_as_awake(queue: ReadySet) -> None:
    assert arrive(queue) is Arrival.IDLE
    assert queue.depth(NOW).executors == 0


def test_with_nothing_due_before_the_next_tick_nobody_is_needed(queue: ReadySet, merchant: UUID) -> None:
    announce(queue, merchant, due=71)
    assert arrive(queue) is Arrival.IDLE
    announce(queue, merchant, due=69)
    assert arrive(queue) is Arrival.NEEDED


def test_of_many_that_arrive_at_once_only_those_with_work_stay(queue: ReadySet, merchant: UUID) -> None:
    announce(queue, merchant, count=250)
    assert [arrive(queue, name) for name in "abcdef"] == [Arrival.NEEDED] * 3 + [Arrival.ENOUGH] * 3
    assert queue.depth(NOW).executors == 3


def test_whoever_arrives_when_the_backlog_is_gone_goes_at_once(queue: ReadySet, merchant: UUID) -> None:
    announce(queue, merchant, count=250)
    queue.pop(NOW, executor="quick", token="t", most=1_000)
    queue.finish(["t"])
    queue.retire("quick")
    assert arrive(queue) is Arrival.IDLE


def test_a_batch_that_may_come_back_keeps_somebody_awake(queue: ReadySet, merchant: UUID) -> None:
    announce(queue, merchant)
    queue.pop(NOW, executor="crashed", token="t", most=1)
    queue.retire("crashed")
    assert arrive(queue) is Arrival.NEEDED
    assert leave(queue) is False


def test_an_emptied_set_needs_somebody_who_fills_it(queue: ReadySet, redis_url: str) -> None:
    """I1: PostgreSQL decides what there is."""
    with Redis.from_url(redis_url) as client:
        client.flushall()
    assert arrive(queue) is Arrival.NEEDED


def test_while_the_set_has_no_room_for_all_more_are_needed(redis_url: str) -> None:
    with ReadySet.connect(QueueSettings(redis_url=redis_url, ready_set_max=1_000)) as small:
        small.mark_filled(NOW, Progress())
        announce(small, new_id(), count=1_001)
        assert [arrive(small, name, each=10_000) for name in "ab"] == [Arrival.NEEDED] * 2
        assert leave(small, "a", each=10_000) is False


def test_a_wake_that_was_turned_away_makes_room_for_another_at_once(queue: ReadySet, merchant: UUID) -> None:
    """The API's clock may be ahead: it wakes somebody for whom, by his own clock, it is too early."""
    assert announce(queue, merchant, at=1, due=70.5) is True
    assert announce(queue, merchant, at=1, due=70.5) is False  # one is on its way
    assert arrive(queue, at=0.2) is Arrival.IDLE
    assert announce(queue, merchant, at=1.1, due=1.1) is True


def test_what_is_announced_to_one_who_has_just_arrived_wakes_nobody_else(
    queue: ReadySet, merchant: UUID, redis_url: str
) -> None:
    announce(queue, merchant)
    arrive(queue)
    until_listening(redis_url, 1)
    assert announce(queue, merchant, at=1) is False


def test_one_that_died_while_its_connection_lives_on_counts_for_five_seconds(queue: ReadySet, merchant: UUID) -> None:
    announce(queue, merchant)
    arrive(queue)
    assert announce(queue, merchant, at=5.1, due=5.1) is True


def test_an_executor_whose_process_is_gone_counts_no_longer(queue: ReadySet, merchant: UUID, redis_url: str) -> None:
    """A connection ends with its process, long before the five seconds are over."""
    with ReadySet.connect(QueueSettings(redis_url=redis_url)) as killed:
        assert announce(queue, merchant, due=3) is True
        arrive(killed, "killed")
        killed.pop(NOW, executor="killed", token="t", most=1)
        until_listening(redis_url, 1)
        assert announce(queue, merchant, at=1, due=1) is False
        assert arrive(queue, at=1) is Arrival.ENOUGH
    until_listening(redis_url, 0)
    assert queue.depth(NOW + seconds(1)).executors == 0
    assert announce(queue, merchant, at=1, due=2) is True
    assert arrive(queue, at=1) is Arrival.NEEDED
    assert leave(queue, at=1) is False  # nobody else would be there for what is to come


def test_whoever_came_a_moment_ago_may_not_listen_yet(queue: ReadySet, merchant: UUID, redis_url: str) -> None:
    announce(queue, merchant)
    with ReadySet.connect(QueueSettings(redis_url=redis_url)) as newcomer:
        arrive(newcomer)
    until_listening(redis_url, 0)
    assert announce(queue, merchant, at=0.2) is False
    assert queue.depth(NOW + seconds(0.2)).executors == 1
    assert announce(queue, merchant, at=0.3) is True


def test_the_last_one_stays_for_what_is_due_before_the_next_tick(queue: ReadySet, merchant: UUID) -> None:
    arrive(queue, ticked=True)
    announce(queue, merchant, due=65)
    assert leave(queue) is False


def test_the_last_one_stays_while_something_may_be_missing_in_the_set(queue: ReadySet) -> None:
    """It was said after its last pop, which found the set whole."""
    arrive(queue, ticked=True)
    queue.pop(NOW, executor="one", token="t", most=1)
    queue.mark_incomplete()
    assert leave(queue) is False
    queue.mark_filled(NOW, Progress())
    assert leave(queue) is True


def test_late_in_a_ticks_minute_the_next_tick_is_relied_on(queue: ReadySet, merchant: UUID) -> None:
    arrive(queue, ticked=True)
    assert announce(queue, merchant, at=50, due=75) is False
    assert arrive(queue, at=50) is Arrival.IDLE
    assert announce(queue, merchant, at=50, due=65) is True
    assert arrive(queue, at=50) is Arrival.NEEDED


def test_ticks_that_have_stopped_are_not_relied_on(queue: ReadySet, merchant: UUID, redis_url: str) -> None:
    arrive(queue, ticked=True)
    with Redis.from_url(redis_url) as client:
        assert 60_000 < client.pttl("{ts:0}:3:ticked") <= 65_000
        client.delete("{ts:0}:3:ticked")
    assert announce(queue, merchant, at=66, due=66 + 69) is True


def test_of_several_that_wait_for_one_job_only_the_last_stays(queue: ReadySet, merchant: UUID) -> None:
    announce(queue, merchant, count=300)
    assert [arrive(queue, name) for name in "abc"] == [Arrival.NEEDED] * 3
    queue.pop(NOW, executor="a", token="t", most=1_000)
    queue.finish(["t"])
    announce(queue, merchant, due=30)
    assert [leave(queue, name) for name in "abc"] == [True, True, False]


def test_those_who_stay_must_be_enough(queue: ReadySet, merchant: UUID) -> None:
    announce(queue, merchant, count=200)
    arrive(queue, "a")
    arrive(queue, "b")
    assert leave(queue, "a") is False
    assert leave(queue, "a", each=200) is True
