"""Filling the ready set from PostgreSQL."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from redis import Redis

from executor.executor import RefillMarks
from scheduler_core.domain.errors import DatabaseUnavailableError
from scheduler_core.domain.jobs import DuePage, MerchantLimits, Place
from scheduler_core.kept_secrets import GivenSecret
from scheduler_core.queueing.ready_set import Popped, Progress, ReadySet
from scheduler_core.services import refilling
from scheduler_core.services.refilling import Refill, Refiller
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


@pytest.mark.parametrize("merchants", [1, 7])
def test_filling_again_while_it_is_worked_off_doubles_nothing(
    database: Database, database_url: str, queue: ReadySet, merchants: int
) -> None:
    """Whatever was bundled how: each minute's filling says anew what waits."""
    for _ in range(merchants):
        merchant = store_merchant(database_url)
        store_jobs(database_url, merchant, 2_100 // merchants)
        queue.set_terms([(MerchantLimits(merchant_id=merchant), True)])
    left = 2_100 // merchants * merchants
    for turn in range(5):
        refiller(database, queue).from_the_start(NOW)
        assert queue.depth(NOW).due == left
        popped = queue.pop(NOW, executor="one", token=str(turn), most=333, done=[str(turn - 1)])
        with database.statement() as connection:
            claimed = claims.claim(connection, popped.hints, lease_id=turn, now=NOW, due_before=NOW, lease=seconds(60))
        assert len(claimed) == len(popped.hints) == 333
        left -= 333
        assert queue.depth(NOW).due == left


def test_what_was_left_out_before_a_backlog_in_bundles_is_filled_in_and_doubles_nothing(
    database: Database, database_url: str, redis_url: str
) -> None:
    merchant = store_merchant(database_url)
    store_jobs(database_url, merchant, 900, next_run_at=NOW - seconds(9))
    with ReadySet(GivenSecret(redis_url), timeout_seconds=5, most=600) as queue:
        fill = refiller(database, queue, room=600)
        queue.set_terms([(MerchantLimits(merchant_id=merchant), True)])
        fill.from_the_start(NOW)
        urgent = store_jobs(database_url, merchant, 20, next_run_at=NOW - seconds(1), priority=9)
        queue.announce(NOW, hints(merchant, urgent, due_at=NOW - seconds(1), priority=9))
        got: list[str] = []
        for turn in range(9):
            popped = queue.pop(NOW, executor="one", token=str(turn), most=150, done=[str(turn - 1)])
            with database.statement() as connection:
                claimed = claims.claim(
                    connection, popped.hints, lease_id=turn, now=NOW, due_before=NOW, lease=seconds(60)
                )
            assert len(claimed) == len(popped.hints)
            got += [job for _, job in popped.hints]
            fill.further(NOW)
    assert len(got) == len(set(got)) == 920
    assert set(got[:20]) == {each.hex for each in urgent}


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


def test_what_is_due_at_one_instant_and_finds_no_room_is_all_filled_in_later(
    database: Database, database_url: str, redis_url: str
) -> None:
    """What goes out of the full set for it may be what was filled before."""
    merchants = [store_merchant(database_url) for _ in range(60)]
    for merchant in merchants:
        store_jobs(database_url, merchant, 20, next_run_at=NOW + seconds(10))
    with ReadySet(GivenSecret(redis_url), timeout_seconds=5, most=600) as queue:
        fill = refiller(database, queue, room=600)
        queue.set_terms([(MerchantLimits(merchant_id=merchant), True) for merchant in merchants])
        assert not fill.from_the_start(NOW).complete
        claimed, at = 0, NOW + seconds(10)
        for turn in range(30):
            popped = queue.pop(at, executor="one", token=str(turn), most=100, done=[str(turn - 1)])
            with database.statement() as connection:
                hinted, lease = popped.hints, seconds(60)
                claimed += len(claims.claim(connection, hinted, lease_id=turn, now=at, due_before=at, lease=lease))
            if popped.has_more and popped.left < 300:
                fill.further(at)
        assert claimed == 1_200


def stored_by_second(database_url: str, merchant: UUID, count: int, each: int) -> dict[datetime, list[UUID]]:
    """Jobs due at NOW, a second later, and so on: `count` times `each`."""
    moments = [NOW + seconds(number) for number in range(count)]
    return {moment: sorted(store_jobs(database_url, merchant, each, next_run_at=moment)) for moment in moments}


def popped_by_second(
    database: Database, queue: ReadySet, merchant: UUID, count: int, *, go_on: Callable[[Popped, datetime], object]
) -> dict[datetime, list[UUID]]:
    """What is popped and claimed of `merchant` in each second, and `go_on` fills after each."""
    popped_at = {}
    for number in range(count):
        now = NOW + seconds(number)
        popped = queue.pop(now, executor="one", token=str(number), most=200, done=[str(number - 1)])
        with database.statement() as connection:
            claims.claim(connection, popped.hints, lease_id=number, now=now, due_before=now, lease=seconds(60))
        popped_at[now] = sorted(UUID(hex=job) for whose, job in popped.hints if whose == merchant.hex)
        go_on(popped, now)
    return popped_at


def test_in_a_set_too_small_for_its_horizon_everything_is_popped_when_it_is_due(
    database: Database, database_url: str, redis_url: str
) -> None:
    """However it was announced: the set holds what is due first, and fillings bring the rest in time."""
    merchant, room = store_merchant(database_url), 400
    due = stored_by_second(database_url, merchant, 80, 20)
    with ReadySet(GivenSecret(redis_url), timeout_seconds=5, most=room) as queue:
        fill, marks = refiller(database, queue, room=room), RefillMarks(room)
        queue.set_terms([(MerchantLimits(merchant_id=merchant), True)])
        for moment in sorted(due, reverse=True):  # by the API, the last first
            queue.announce(NOW - seconds(1), hints(merchant, due[moment], due_at=moment))
        fill.from_the_start(NOW - seconds(1))

        def go_on(popped: Popped, now: datetime) -> None:
            if marks.wants_further(popped):
                fill.further(now)

        assert popped_by_second(database, queue, merchant, 80, go_on=go_on) == due


@pytest.mark.parametrize("heavy", [1, 2])
def test_backlogs_that_take_for_ever_do_not_delay_others(
    database: Database, database_url: str, redis_url: str, heavy: int
) -> None:
    """They are stored long before, so only fillings bring them; one of the backlogs comes to light behind the other."""
    room, small = 1_000, store_merchant(database_url)
    large = [store_merchant(database_url) for _ in range(heavy)]
    for number, merchant in enumerate(large):
        store_jobs(database_url, merchant, 3_000, next_run_at=NOW - seconds(60) + number * seconds(30))
    due = stored_by_second(database_url, small, 60, 10)
    with ReadySet(GivenSecret(redis_url), timeout_seconds=5, most=room) as queue:
        fill, marks = refiller(database, queue, room=room), RefillMarks(room)
        limits = [MerchantLimits(merchant_id=merchant, max_concurrency=1) for merchant in large]
        queue.set_terms([(each, True) for each in (MerchantLimits(merchant_id=small), *limits)])
        fill.from_the_start(NOW)

        def go_on(popped: Popped, now: datetime) -> None:
            if marks.wants_light(popped):
                fill.beside(now)

        assert popped_by_second(database, queue, small, 60, go_on=go_on) == due


@pytest.mark.parametrize(("backlog", "room"), [(0, 400), (3_000, 1_200)])
def test_what_is_announced_on_and_on_takes_nobodys_room_who_is_due_before(
    database: Database, database_url: str, redis_url: str, backlog: int, room: int
) -> None:
    """Always 20 jobs a second for in 40 s, more than there is room for: what becomes free is for what was left out."""
    large, small, lead = store_merchant(database_url), store_merchant(database_url), 40
    due: dict[datetime, list[UUID]] = {}
    store_jobs(database_url, large, backlog, next_run_at=NOW - seconds(30))
    with ReadySet(GivenSecret(redis_url), timeout_seconds=5, most=room) as queue:
        fill, marks = refiller(database, queue, room=room), RefillMarks(room)
        limits = MerchantLimits(merchant_id=large, max_concurrency=1), MerchantLimits(merchant_id=small)
        queue.set_terms([(each, True) for each in limits])
        fill.from_the_start(NOW)

        def go_on(popped: Popped, now: datetime) -> None:
            due.setdefault(now, [])
            for half in range(2):
                due_at = now + seconds(lead + half / 2)
                jobs = store_jobs(database_url, small, 10, next_run_at=due_at)
                due.setdefault(now + seconds(lead + half), []).extend(jobs)
                queue.announce(now, hints(small, jobs, due_at=due_at))
            if marks.wants_further(popped):
                fill.further(now)
            elif marks.wants_light(popped):
                fill.beside(now)

        popped_at = popped_by_second(database, queue, small, 120, go_on=go_on)
    assert popped_at == {moment: sorted(jobs) for moment, jobs in due.items() if moment in popped_at}


def test_who_finds_nothing_missing_beside_leaves_the_place_as_it_is(database: Database, queue: ReadySet) -> None:
    """Another executor was quicker; how far the set is filled is still what decides which announcements come in."""
    filled = Progress(cursor=Place(NOW + seconds(20), new_id()), heavy=(new_id(),))
    queue.mark_filled(NOW, filled)
    assert refiller(database, queue).beside(NOW).announced == 0
    queue.announce(NOW, hints(new_id(), [new_id()], due_at=NOW + seconds(30)))
    assert queue.depth(NOW).size == 0
    assert queue.resume()._replace(left_out_from=None) == filled


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


def test_whoever_comes_to_heal_a_set_that_is_whole_by_now_copies_nothing(
    database: Database, database_url: str, queue: ReadySet
) -> None:
    """Between a pop that finds it missing and the filling that follows another's filling may end."""
    store_jobs(database_url, store_merchant(database_url), 20, next_run_at=NOW)
    assert refiller(database, queue).heal(NOW).announced == 20
    assert refiller(database, queue).heal(NOW).announced == 0
    queue.mark_incomplete()
    assert refiller(database, queue).heal(NOW).announced == 20


@pytest.mark.parametrize("fill", [Refiller.further, Refiller.beside])
def test_a_set_that_was_found_incomplete_stays_so_when_it_is_filled_further(
    database: Database, database_url: str, queue: ReadySet, fill: Callable[[Refiller, datetime], Refill]
) -> None:
    store_jobs(database_url, store_merchant(database_url), 250, next_run_at=NOW)
    assert not refiller(database, queue, room=100).from_the_start(NOW).complete
    queue.mark_incomplete()
    fill(refiller(database, queue, room=500), NOW)
    assert not queue.is_whole()


def happens_after(monkeypatch: pytest.MonkeyPatch, pages: int, what: Callable[[], object]) -> None:
    """Something happens before the page after so many is read, once."""
    read, done = claims.due_page_across_merchants, 0

    def reads(*args: Any, **options: Any) -> DuePage:
        nonlocal done
        if done == pages:
            what()
        done += 1
        return read(*args, **options)

    monkeypatch.setattr(claims, "due_page_across_merchants", reads)


def emptied_after(monkeypatch: pytest.MonkeyPatch, redis_url: str, pages: int) -> None:
    """Redis loses everything while the page after so many is read."""

    def empty() -> None:
        with Redis.from_url(redis_url) as client:
            client.flushall()

    happens_after(monkeypatch, pages, empty)


def test_i1_a_set_that_is_emptied_while_it_is_filled_is_filled_once_more(
    database: Database, database_url: str, queue: ReadySet, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_jobs(database_url, store_merchant(database_url), 200, next_run_at=NOW + seconds(50))
    emptied_after(monkeypatch, redis_url, 3)
    refill = refiller(database, queue, room=300).from_the_start(NOW)
    assert (refill.announced, refill.complete, refill.lost) == (200, True, False)
    assert queue.depth(NOW).size == 200
    assert not queue.pop(NOW, executor="one", token="t", most=0).must_rebuild


def test_i1_a_set_that_is_emptied_while_it_is_filled_further_is_to_be_filled_anew(
    database: Database, database_url: str, queue: ReadySet, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_jobs(database_url, store_merchant(database_url), 250, next_run_at=NOW)
    assert not refiller(database, queue, room=100).from_the_start(NOW).complete
    emptied_after(monkeypatch, redis_url, 2)
    assert refiller(database, queue, room=200).further(NOW).lost
    assert queue.pop(NOW, executor="one", token="t", most=0).must_rebuild


def test_i1_a_hint_that_is_lost_while_the_set_is_filled_is_found_all_the_same(
    database: Database, database_url: str, queue: ReadySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job may be due before the place that the filling has come to."""
    merchant = store_merchant(database_url)
    store_jobs(database_url, merchant, 200, next_run_at=NOW + seconds(50))

    def unannounced() -> None:
        store_jobs(database_url, merchant, 1, next_run_at=NOW + seconds(10))
        queue.mark_incomplete()

    happens_after(monkeypatch, 3, unannounced)
    refill = refiller(database, queue, room=300).from_the_start(NOW)
    assert (refill.announced, refill.complete, refill.lost) == (201, True, False)
    assert queue.depth(NOW).size == 201
    assert queue.is_whole()


def test_i1_a_set_for_which_a_hint_is_lost_while_an_executor_fills_it_is_to_be_filled_anew(
    database: Database, database_url: str, queue: ReadySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_jobs(database_url, store_merchant(database_url), 200, next_run_at=NOW)
    happens_after(monkeypatch, 2, queue.mark_incomplete)
    assert refiller(database, queue, room=300).heal(NOW).lost
    assert queue.pop(NOW, executor="one", token="t", most=0).must_rebuild
    assert not refiller(database, queue, room=300).heal(NOW).lost
    assert queue.is_whole()


def test_a_set_whose_filling_was_broken_off_is_to_be_filled_anew(
    database: Database, database_url: str, queue: ReadySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was left out is forgotten by then, and how far it was filled."""
    store_jobs(database_url, store_merchant(database_url), 250, next_run_at=NOW)
    assert not refiller(database, queue, room=100).from_the_start(NOW).complete

    def away(*_: Any, **__: Any) -> DuePage:
        raise DatabaseUnavailableError("away")

    monkeypatch.setattr(claims, "due_page_across_merchants", away)
    with pytest.raises(DatabaseUnavailableError):
        refiller(database, queue).further(NOW)
    assert queue.pop(NOW, executor="one", token="t", most=0).must_rebuild
    assert not queue.on_duty("refill")


def test_a_filling_that_takes_long_stays_the_only_one(
    database: Database, database_url: str, queue: ReadySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_jobs(database_url, store_merchant(database_url), 100, next_run_at=NOW)
    monkeypatch.setattr(refilling, "DUTY_SECONDS", 0.5)
    read = claims.due_page_across_merchants

    def slowly(*args: Any, **options: Any) -> DuePage:
        time.sleep(0.2)
        return read(*args, **options)

    monkeypatch.setattr(claims, "due_page_across_merchants", slowly)
    refill = refiller(database, queue, room=500).from_the_start(NOW)
    assert (refill.announced, refill.complete, refill.lost) == (100, True, False)
