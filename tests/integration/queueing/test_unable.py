"""A Redis that answers and yet does nothing: full, a replica, short of replicas, or forbidden to us."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis

from dev.redis import RedisServer
from scheduler_core.domain.errors import QueueUnavailableError
from scheduler_core.domain.jobs import MerchantLimits
from scheduler_core.queueing.announcement import announcement
from scheduler_core.queueing.ready_set import Progress, ReadySet
from scheduler_core.settings import QueueSettings
from tests.builders import NOW, grouped, hints, new_id

UNABLE = {
    "full": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "a replica": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    "without its replicas": (
        ("CONFIG", "SET", "min-replicas-to-write", "1"),
        ("CONFIG", "SET", "min-replicas-to-write", "0"),
    ),
    "forbidden": (("ACL", "SETUSER", "us", "-@write"), ("ACL", "SETUSER", "us", "+@write")),
}
JOB = hints(new_id(), [new_id()])

CALLS: dict[str, Callable[[ReadySet], object]] = {
    "announce": lambda queue: queue.announce(NOW, JOB),
    "begin": lambda queue: queue.begin(announcement(NOW, JOB))(),
    "fill": lambda queue: queue.fill(NOW, grouped(JOB)),
    "announce_cancelled": lambda queue: queue.announce_cancelled(NOW, [JOB[0].job_id]),
    "pop": lambda queue: queue.pop(NOW, executor="one", token="t", most=1, lead=timedelta(milliseconds=50)),
    "arrive": lambda queue: queue.arrive(NOW, executor="one", jobs_per_executor=1, ticked=True),
    "set_terms": lambda queue: queue.set_terms([(MerchantLimits(merchant_id=JOB[0].merchant_id), True)]),
    "hold": lambda queue: queue.hold(NOW, [(JOB[0].merchant_id.hex, JOB[0].job_id.hex)], for_seconds=1),
    "mark_filled": lambda queue: queue.mark_filled(NOW, Progress()),
    "distrust": lambda queue: queue.distrust(NOW, seconds=1),
    "begin_filling": lambda queue: queue.begin_filling("one", seconds=1),
    "take_duty": lambda queue: queue.take_duty("watch", "one", seconds=1),
    "ping": lambda queue: queue.ping(),
}


@pytest.fixture
def owner(redis_server: RedisServer) -> Iterator[Any]:
    """Of a Redis that is this test's own."""
    with Redis.from_url(redis_server.url) as client:
        client.execute_command("ACL", "SETUSER", "us", "on", ">secret", "~*", "&*", "+@all")
        yield client


@pytest.fixture
def queue(owner: Any, redis_server: RedisServer) -> Iterator[ReadySet]:
    url = redis_server.url.replace("redis://", "redis://us:secret@")
    queue = ReadySet.connect(QueueSettings(redis_url=url))
    yield queue
    queue.close()


@pytest.mark.parametrize("how", UNABLE)
def test_i1_a_redis_that_does_nothing_is_away_until_it_does(owner: Any, queue: ReadySet, how: str) -> None:
    unable, able = UNABLE[how]
    queue.announce(NOW, JOB)  # it knows the script, and holds a connection
    owner.execute_command(*unable)
    for call in CALLS.values():
        with pytest.raises(QueueUnavailableError):
            call(queue)
    owner.execute_command(*able)
    for call in CALLS.values():
        call(queue)


def test_a_connection_to_a_server_that_became_a_replica_is_given_up(owner: Any, queue: ReadySet) -> None:
    """After a failover its name leads to another."""
    queue.announce(NOW, JOB)
    unable, able = UNABLE["a replica"]
    owner.execute_command(*unable)
    with pytest.raises(QueueUnavailableError):
        queue.announce(NOW, JOB)
    owner.execute_command(*able)
    before = owner.info("stats")["total_connections_received"]
    queue.announce(NOW, JOB)
    assert owner.info("stats")["total_connections_received"] == before + 1


def test_one_thread_may_listen_while_another_finds_it_unable(owner: Any, queue: ReadySet) -> None:
    """As in an executor, whose threads share one set."""
    queue.announce(NOW, JOB)
    queue.sleep(0)
    owner.execute_command(*UNABLE["full"][0])
    with ThreadPoolExecutor(1) as pool:
        for _ in range(20):
            listening = pool.submit(queue.sleep, 0.05)
            with pytest.raises(QueueUnavailableError):
                queue.announce(NOW, JOB)
            listening.result()
    owner.execute_command(*UNABLE["full"][1])
    queue.announce(NOW, JOB)


def test_a_mistake_of_ours_is_not_taken_for_that(owner: Any, queue: ReadySet) -> None:
    queue.announce(NOW, JOB)
    [ring] = owner.keys("*:ring")
    owner.delete(ring)
    owner.set(ring, "no sorted set")
    with pytest.raises(Exception, match=r"WRONGTYPE|wrong kind") as caught:
        queue.announce(NOW, hints(new_id(), [new_id()]))
    assert not isinstance(caught.value, QueueUnavailableError)
