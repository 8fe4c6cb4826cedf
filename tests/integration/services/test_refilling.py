"""Filling the ready set from PostgreSQL."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from redis import Redis

from scheduler_core.domain.jobs import MerchantLimits
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services.refilling import Refiller
from scheduler_core.settings import QueueSettings
from scheduler_core.storage import claims
from scheduler_core.storage.database import Database, Role
from tests.builders import NOW, hints, new_id, seconds, store_jobs, store_merchant


@pytest.fixture
def queue(redis_url: str) -> Iterator[ReadySet]:
    queue = ReadySet.connect(QueueSettings(redis_url=redis_url))
    yield queue
    queue.close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, Role.WORKER)
    yield database
    database.close()


def refiller(database: Database, queue: ReadySet, room: int = 50_000) -> Refiller:
    return Refiller(database, queue, horizon=timedelta(seconds=90), room=room, holder="test")


def test_what_falls_due_within_the_horizon_is_announced(database: Database, database_url: str, queue: ReadySet) -> None:
    merchant = store_merchant(database_url)
    store_jobs(database_url, merchant, 3, next_run_at=NOW - seconds(5))
    store_jobs(database_url, merchant, 2, next_run_at=NOW + seconds(89))
    store_jobs(database_url, merchant, 4, next_run_at=NOW + seconds(91))
    refill = refiller(database, queue).from_the_start(NOW)
    assert (refill.announced, refill.complete, refill.must_invoke) == (5, True, True)
    assert queue.depth(NOW).size == 5


def test_i1_a_flushed_set_is_filled_again_with_everything(
    database: Database, database_url: str, queue: ReadySet, redis_url: str
) -> None:
    merchant = store_merchant(database_url)
    ids = store_jobs(database_url, merchant, 50)
    refiller(database, queue).from_the_start(NOW)
    with Redis.from_url(redis_url) as client:
        client.flushall()
    refiller(database, queue).from_the_start(NOW)
    queue.set_terms([(MerchantLimits(merchant_id=merchant), True)])
    popped = queue.pop(NOW, executor="one", token="t", most=100)
    assert sorted(job for _, job in popped.hints) == sorted(each.hex for each in ids)


def test_filling_twice_doubles_nothing(database: Database, database_url: str, queue: ReadySet) -> None:
    store_jobs(database_url, store_merchant(database_url), 20)
    for _ in range(3):
        refiller(database, queue).from_the_start(NOW)
    assert queue.depth(NOW).size == 20


def test_a_backlog_larger_than_the_room_is_filled_piece_by_piece(
    database: Database, database_url: str, queue: ReadySet
) -> None:
    """I8: one filling reads no more than there is room for, and the next goes on behind it."""
    store_jobs(database_url, store_merchant(database_url), 250, next_run_at=NOW)
    first = refiller(database, queue, room=100).from_the_start(NOW)
    assert (first.announced, first.complete) == (100, False)
    while not (last := refiller(database, queue, room=100).further(NOW)).complete:
        pass
    assert queue.depth(NOW).size == 250
    assert last.complete


def test_what_finds_no_room_is_filled_in_later(database: Database, database_url: str, redis_url: str) -> None:
    """The room that there is depends on what is popped meanwhile: a filling never passes over what did not fit."""
    merchant = store_merchant(database_url)
    ids = store_jobs(database_url, merchant, 2_500, next_run_at=NOW)
    got: list[str] = []
    with ReadySet.connect(QueueSettings(redis_url=redis_url, ready_set_max=1_000)) as queue:
        fill = refiller(database, queue, room=1_000)
        refill = fill.from_the_start(NOW)
        queue.set_terms([(MerchantLimits(merchant_id=merchant), True)])
        for turn in range(40):
            popped = queue.pop(NOW, executor="one", token=str(turn), most=100, done=[str(turn - 1)])
            with database.statement() as connection:
                claimed = claims.claim(
                    connection,
                    popped.hints,
                    lease_id=turn,
                    now=NOW,
                    due_before=NOW,
                    lease=seconds(60),
                )
            got += [job.id.hex for job in claimed]
            if not refill.complete:
                assert popped.has_more
                refill = fill.further(NOW)
    assert refill.complete
    assert sorted(got) == sorted(each.hex for each in ids)


def test_in_a_set_too_small_for_its_horizon_everything_is_popped_when_it_is_due(
    database: Database, database_url: str, redis_url: str
) -> None:
    """However it was announced: the set holds what is due first, and fillings bring the rest in time."""
    merchant, room, step = store_merchant(database_url), 1_000, seconds(0.01)
    due = {}
    for number in range(3_000):
        due[NOW + (number + 1) * step] = store_jobs(database_url, merchant, 1, next_run_at=NOW + (number + 1) * step)[0]
    with ReadySet.connect(QueueSettings(redis_url=redis_url, ready_set_max=room)) as queue:
        fill = refiller(database, queue, room=room)
        queue.set_terms([(MerchantLimits(merchant_id=merchant), True)])
        for moment in sorted(due, reverse=True):  # by the API, the last first
            queue.announce(NOW, hints(merchant, [due[moment]], due_at=moment))
        fill.from_the_start(NOW)
        for turn in range(30):
            now, done = NOW + (turn + 1) * 100 * step, [str(turn - 1)]
            popped = queue.pop(now, executor="one", token=str(turn), most=200, done=done)
            expected = [due[moment].hex for moment in sorted(due) if now - 100 * step < moment <= now]
            assert sorted(job for _, job in popped.hints) == sorted(expected)
            with database.statement() as connection:
                claims.claim(connection, popped.hints, lease_id=turn, now=now, due_before=now, lease=seconds(60))
            if popped.has_more and popped.left < room // 2:
                fill.further(now)


def test_what_was_never_announced_finds_its_way_into_a_full_set(
    database: Database, database_url: str, redis_url: str
) -> None:
    merchant = store_merchant(database_url)
    [lost] = store_jobs(database_url, merchant, 1, next_run_at=NOW + seconds(5))
    later = store_jobs(database_url, merchant, 1_000, next_run_at=NOW + seconds(60))
    with ReadySet.connect(QueueSettings(redis_url=redis_url, ready_set_max=1_000)) as queue:
        queue.set_terms([(MerchantLimits(merchant_id=merchant), True)])
        queue.announce(NOW, hints(merchant, later, due_at=NOW + seconds(60)))
        refiller(database, queue, room=1_000).from_the_start(NOW)
        popped = queue.pop(NOW + seconds(5), executor="one", token="t", most=10)
        assert [job for _, job in popped.hints] == [lost.hex]


def test_a_backlog_leaves_room_for_what_is_announced(database: Database, database_url: str, redis_url: str) -> None:
    large, small = store_merchant(database_url), store_merchant(database_url)
    store_jobs(database_url, large, 3_000, next_run_at=NOW)
    with ReadySet.connect(QueueSettings(redis_url=redis_url, ready_set_max=1_000)) as queue:
        refiller(database, queue, room=1_000).from_the_start(NOW)
        assert queue.depth(NOW).size == 875
        queue.announce(NOW, hints(small, [new_id() for _ in range(100)]))
        assert queue.depth(NOW).size == 975


def test_a_large_backlog_does_not_keep_others_out(database: Database, database_url: str, queue: ReadySet) -> None:
    large, small = store_merchant(database_url), store_merchant(database_url)
    store_jobs(database_url, large, 3_000, next_run_at=NOW - seconds(60))
    store_jobs(database_url, small, 5, next_run_at=NOW)
    refiller(database, queue, room=2_500).from_the_start(NOW)
    queue.set_terms([(MerchantLimits(merchant_id=merchant), True) for merchant in (large, small)])
    got = Counter(merchant for merchant, _ in queue.pop(NOW, executor="one", token="t", most=20).hints)
    assert got[small.hex] == 5


def test_one_fills_at_a_time(database: Database, database_url: str, queue: ReadySet) -> None:
    assert queue.take_duty("refill", "somebody else", seconds=5)
    assert refiller(database, queue).from_the_start(NOW).busy
