"""The ready set: due order, fairness, limits, and what survives a crash."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from dev.redis import RedisServer
from scheduler_core.clock import monotonic
from scheduler_core.domain.errors import QueueUnavailableError
from scheduler_core.domain.ids import milliseconds
from scheduler_core.domain.jobs import Hint, MerchantLimits, Place
from scheduler_core.kept_secrets import GivenSecret
from scheduler_core.queueing import announcement
from scheduler_core.queueing.announcement import BUNDLE_LEAST, BUNDLE_MOST, PRIORITY_STEP
from scheduler_core.queueing.ready_set import (
    BASE_KEY,
    ROOM_SHARE,
    Arrival,
    Popped,
    Progress,
    ReadySet,
)
from scheduler_core.settings import QueueSettings
from tests.builders import NOW, grouped, hints, new_id, seconds
from tests.conftest import hanging
from tests.integration.queueing.conftest import until_listening

MERCHANTS, JOBS = [new_id() for _ in range(3)], [new_id() for _ in range(12)]
ANY_HINTS = st.lists(
    st.builds(
        Hint,
        st.sampled_from(MERCHANTS),
        st.sampled_from(JOBS),
        st.sampled_from([NOW - seconds(1), NOW, NOW + seconds(1), NOW + seconds(2)]),
        st.sampled_from([-100, 0, 7]),
    ),
    min_size=1,
    max_size=20,
)


@pytest.fixture
def queue(redis_url: str) -> Iterator[ReadySet]:
    queue = ReadySet.connect(QueueSettings(redis_url=redis_url))
    yield queue
    queue.close()


def roomy(redis_url: str, most: int) -> ReadySet:
    """With room for `most` entries, fewer than the settings allow."""
    return ReadySet(GivenSecret(redis_url), timeout_seconds=5, most=most)


def a_merchant(queue: ReadySet, **limits: int) -> UUID:
    merchant_id = new_id()
    queue.set_terms([(MerchantLimits(merchant_id=merchant_id, **limits), True)])
    return merchant_id


def pop(queue: ReadySet, *, at: float = 0, most: int = 100, token: str = "t", **more: Any) -> Popped:
    return queue.pop(NOW + seconds(at), executor="one", token=token, most=most, **more)


def jobs_of(popped: Popped) -> list[UUID]:
    return [UUID(hex=job) for _, job in popped.hints]


def contents(client: Any) -> dict[bytes, Any]:
    """All keys, with what they hold."""
    keys = client.keys("*")
    return {
        key: client.zrange(key, 0, -1, withscores=True) if client.type(key) == b"zset" else client.get(key)
        for key in keys
        if client.type(key) != b"hash"
    }


def score_of(member: bytes, due_at: datetime) -> float:
    """Where it stands in its merchant's queue: the lower, the sooner it is popped."""
    return (100 - int(member.split(b":")[1])) * PRIORITY_STEP + milliseconds(due_at)


def test_a_job_is_popped_when_it_is_due_and_not_before(queue: ReadySet) -> None:
    merchant, job = a_merchant(queue), new_id()
    queue.announce(NOW, hints(merchant, [job], due_at=NOW + seconds(2)))
    early = pop(queue, at=1.5)
    assert early.hints == []
    assert early.look_again_seconds == pytest.approx(0.5)
    assert pop(queue, at=2).hints == [(merchant.hex, job.hex)]


def test_a_job_is_never_popped_a_fraction_of_a_millisecond_early(queue: ReadySet) -> None:
    """The claim would refuse it, and the hint would be gone."""
    queue.announce(NOW, hints(a_merchant(queue), [new_id()], due_at=NOW + seconds(1.0004)))
    assert pop(queue, at=1.0003).hints == []
    assert len(pop(queue, at=1.001).hints) == 1


def test_a_job_is_popped_earlier_by_the_lead(queue: ReadySet) -> None:
    merchant, job = a_merchant(queue), new_id()
    queue.announce(NOW, hints(merchant, [job], due_at=NOW + seconds(2)))
    assert jobs_of(pop(queue, at=1.96, lead=seconds(0.05))) == [job]


def backlog(merchant: UUID, count: int, *, priority: int = 0, due: float = -1) -> list[Hint]:
    return hints(merchant, sorted(new_id() for _ in range(count)), due_at=NOW + seconds(due), priority=priority)


def test_a_backlog_is_a_few_entries(queue: ReadySet, redis_url: str) -> None:
    merchant = a_merchant(queue)
    queue.fill(NOW, grouped(backlog(merchant, 3 * BUNDLE_MOST + BUNDLE_LEAST - 1)))
    with Redis.from_url(redis_url) as client:
        assert client.zcard(f"{BASE_KEY}:bundles:{merchant.hex}") == 3
        assert client.zcard(f"{BASE_KEY}:ready:{merchant.hex}") == BUNDLE_LEAST - 1
    assert queue.depth(NOW).due == 3 * BUNDLE_MOST + BUNDLE_LEAST - 1


def test_what_is_bundled_goes_by_priority_and_due_time_with_what_is_not(queue: ReadySet) -> None:
    merchant = a_merchant(queue)
    filled = backlog(merchant, 20, due=-8) + backlog(merchant, 20, due=-4) + backlog(merchant, 20, priority=5, due=-2)
    first, early, late = (
        backlog(merchant, 1, priority=priority, due=due) for priority, due in ((9, -1), (0, -6), (0, -1))
    )
    for start in range(0, len(filled), 20):  # one bundle each
        queue.fill(NOW, grouped(filled[start : start + 20]))
    for each in (late, early, first):
        queue.announce(NOW, each)
    expected = first + filled[40:] + filled[:20] + early + filled[20:40] + late
    popped = [jobs_of(pop(queue, most=most, token=str(most))) for most in (7, 11, 30, 40)]
    assert [len(each) for each in popped] == [7, 11, 30, 15]
    assert [job for each in popped for job in each] == [hint.job_id for hint in expected]


def test_bundled_jobs_need_places_and_give_them_back(queue: ReadySet) -> None:
    merchant = a_merchant(queue, max_concurrency=10)
    queue.fill(NOW, grouped(backlog(merchant, 30)))
    got = pop(queue)
    assert len(got.hints) == 10
    assert pop(queue, token="u").hints == []
    queue.release(got.hints[:4])
    assert len(pop(queue, token="v").hints) == 4


def test_bundled_jobs_come_back_from_an_executor_that_died(queue: ReadySet) -> None:
    merchant = a_merchant(queue)
    filled = backlog(merchant, 30)
    queue.fill(NOW, grouped(filled))
    got = jobs_of(pop(queue, most=12))
    assert sorted(jobs_of(pop(queue, at=6, token="u"))) == sorted(hint.job_id for hint in filled)
    assert len(got) == 12


def test_an_inactive_merchants_bundles_are_dropped(queue: ReadySet) -> None:
    merchant = new_id()
    queue.set_terms([(MerchantLimits(merchant_id=merchant), False)])
    queue.fill(NOW, grouped(backlog(merchant, 30) + backlog(merchant, 3)))
    assert pop(queue).hints == []
    assert queue.depth(NOW).size == 0


def test_what_was_announced_and_is_bundled_now_is_there_once(queue: ReadySet) -> None:
    merchant = a_merchant(queue)
    filled = backlog(merchant, 30)
    queue.announce(NOW, filled[5:15])
    queue.fill(NOW, grouped(filled), anew=True)
    assert queue.depth(NOW).due == 30
    assert sorted(jobs_of(pop(queue))) == sorted(hint.job_id for hint in filled)


def test_a_set_with_bundles_is_not_whole_while_it_is_filled_anew(queue: ReadySet) -> None:
    merchant = a_merchant(queue)
    queue.mark_filled(NOW, Progress())
    queue.fill(NOW, grouped(backlog(merchant, 3)), anew=True)
    assert queue.is_whole()  # nothing went out of it
    queue.fill(NOW, grouped(backlog(merchant, 20)))
    queue.fill(NOW, grouped(backlog(merchant, 20)), anew=True)
    assert not queue.is_whole()
    queue.mark_filled(NOW, Progress())
    assert len(pop(queue).hints) == 23


def test_a_full_set_takes_the_more_urgent_for_the_last_of_a_bundle(redis_url: str) -> None:
    with roomy(redis_url, 80) as queue:
        merchant = a_merchant(queue)
        filled = backlog(merchant, 70)
        assert queue.fill(NOW, grouped(filled)).left_out == 0
        urgent, later = backlog(merchant, 3, priority=9), backlog(merchant, 2, due=-0.5)
        queue.announce(NOW, urgent + later)
        assert queue.depth(NOW).due == 70
        popped = jobs_of(pop(queue))
        assert popped[:3] == sorted(hint.job_id for hint in urgent)
        assert popped[3:] == [hint.job_id for hint in filled[:67]]
        with Redis.from_url(redis_url) as client:
            assert not client.exists(f"{BASE_KEY}:bundled")
        assert queue.resume().left_out_from is not None


@given(
    waiting=st.dictionaries(st.sampled_from(JOBS), st.tuples(st.sampled_from(MERCHANTS), st.sampled_from([0, 7]))),
    dues=st.lists(st.integers(-4, 1), min_size=len(JOBS), max_size=len(JOBS)),
    announced=st.sets(st.sampled_from(JOBS)),
    page=st.integers(2, 12),
    pops=st.lists(st.integers(0, 5), max_size=6),
    room=st.sampled_from([8, 14, 1_000]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_bundled_and_popped_and_filled_anew_each_job_is_there_once(
    redis_url: str,
    waiting: dict[UUID, tuple[UUID, int]],
    dues: list[int],
    announced: set[UUID],
    page: int,
    pops: list[int],
    room: int,
) -> None:
    """Some is announced before; all is filled page by page, popped in part, and filled anew, until nothing is left."""
    due_of = dict(zip(JOBS, (NOW + seconds(due) for due in dues), strict=True))
    all_hints = [Hint(merchant, job, due_of[job], priority) for job, (merchant, priority) in waiting.items()]
    left = {hint.job_id: hint for hint in sorted(all_hints, key=lambda hint: (hint.due_at, hint.job_id))}
    with Redis.from_url(redis_url) as client, pytest.MonkeyPatch.context() as patch, roomy(redis_url, room) as queue:
        patch.setattr(announcement, "BUNDLE_LEAST", 2)
        client.flushall()
        queue.set_terms([(MerchantLimits(merchant_id=merchant), True) for merchant in MERCHANTS])
        queue.announce(NOW, [left[job] for job in announced & left.keys()])
        for turn, most in enumerate([*pops, *[100] * 8]):
            given_hints = list(left.values())
            for start in range(0, len(given_hints), page):
                queue.fill(NOW, grouped(given_hints[start : start + page]), anew=start == 0)
            queue.mark_filled(NOW, Progress())
            popped = jobs_of(pop(queue, at=2, most=most, token=f"t{turn}", done=[f"t{turn - 1}"]))
            assert len(popped) == len(set(popped))
            assert left.keys() >= set(popped)
            for job in popped:
                del left[job]
            held = contents(client)
            bundles = {
                key.rsplit(b":", 1)[1]: sum((len(member) - 33) // 32 for member, _ in held[key])
                for key in held
                if b":bundles:" in key
            }
            counted: dict[bytes, bytes] = client.hgetall(f"{BASE_KEY}:bundled")
            assert {merchant: int(count) for merchant, count in counted.items()} == bundles
            singles = {key.rsplit(b":", 1)[1]: len(held[key]) for key in held if b":ready:" in key}
            assert int(held.get(b"{ts:0}:3:ready_count", 0)) == sum(bundles.values()) + sum(singles.values())
            assert {merchant for merchant, _ in held.get(b"{ts:0}:3:ring", [])} == bundles.keys() | singles.keys()
    assert not left


def test_the_same_hint_twice_is_one_entry(queue: ReadySet) -> None:
    merchant, job = a_merchant(queue), new_id()
    for due in (NOW, NOW, NOW + seconds(1), NOW + seconds(1)):
        queue.announce(NOW, hints(merchant, [job], due_at=due))
    assert queue.depth(NOW).size == 2  # one that is due and one to come: hints may be doubled, the claim decides (I2)
    assert jobs_of(pop(queue)) == [job]


def test_higher_priority_goes_first_then_the_earlier_due(queue: ReadySet) -> None:
    merchant = a_merchant(queue)
    low, early, late, high = (new_id() for _ in range(4))
    queue.announce(NOW, hints(merchant, [low], priority=-100, due_at=NOW - seconds(9)))
    queue.announce(NOW, hints(merchant, [late], due_at=NOW - seconds(1)))
    queue.announce(NOW, hints(merchant, [early], due_at=NOW - seconds(2)))
    queue.announce(NOW, hints(merchant, [high], priority=100, due_at=NOW))
    assert jobs_of(pop(queue)) == [high, early, late, low]


def test_a_small_merchant_does_not_wait_behind_a_large_backlog(queue: ReadySet) -> None:
    large, small = a_merchant(queue), a_merchant(queue)
    queue.announce(NOW, hints(large, [new_id() for _ in range(5_000)], due_at=NOW - seconds(60)))
    for turn in range(3):
        pop(queue, most=100, token=str(turn))
    job = new_id()
    queue.announce(NOW, hints(small, [job]))
    assert job in jobs_of(pop(queue, most=100, token="next"))


def test_weights_share_the_room(queue: ReadySet) -> None:
    light, heavy = a_merchant(queue), a_merchant(queue, weight=3)
    for merchant in (light, heavy):
        queue.announce(NOW, hints(merchant, [new_id() for _ in range(1_000)]))
    got = Counter(merchant for turn in range(40) for merchant, _ in pop(queue, most=10, token=str(turn)).hints)
    assert got[heavy.hex] / got[light.hex] == pytest.approx(3, rel=0.15)


def test_a_concurrency_limit_holds_until_places_are_released(queue: ReadySet) -> None:
    merchant = a_merchant(queue, max_concurrency=2)
    queue.announce(NOW, hints(merchant, [new_id() for _ in range(5)]))
    first = pop(queue, token="a")
    assert len(first.hints) == 2
    assert pop(queue, token="b").hints == []
    queue.release(first.hints[:1])
    assert len(pop(queue, token="c").hints) == 1


def test_a_place_under_a_concurrency_limit_frees_itself_unless_it_is_held(queue: ReadySet) -> None:
    merchant = a_merchant(queue, max_concurrency=2)
    queue.announce(NOW, hints(merchant, [new_id() for _ in range(5)]))
    first = pop(queue, token="a", hold=seconds(10))
    queue.hold(NOW + seconds(5), first.hints[:1], for_seconds=10)
    assert len(pop(queue, at=12, token="b").hints) == 1


def test_a_rate_limit_spreads_jobs_over_time(queue: ReadySet) -> None:
    merchant = a_merchant(queue, rate_limit_per_second=50)
    queue.announce(NOW, hints(merchant, [new_id() for _ in range(500)]))
    got = [len(pop(queue, at=step / 100, token=str(step)).hints) for step in range(200)]
    assert sum(got[:100]) == pytest.approx(55, abs=2)
    assert sum(got) == pytest.approx(105, abs=2)


def test_no_merchant_gets_more_than_it_is_allowed(queue: ReadySet) -> None:
    full, half, free = (a_merchant(queue) for _ in range(3))
    for merchant in (full, half, free):
        queue.announce(NOW, hints(merchant, [new_id() for _ in range(20)]))
    popped = pop(queue, token="a", most_each=15, allowances={full.int: 0, half.int: 4})
    assert Counter(merchant for merchant, _ in popped.hints) == {half.hex: 4, free.hex: 15}
    assert len(pop(queue, token="b").hints) == 60 - 19


def test_a_merchant_without_terms_is_asked_for_first(queue: ReadySet) -> None:
    merchant, job = new_id(), new_id()
    queue.announce(NOW, hints(merchant, [job]))
    popped = pop(queue)
    assert (popped.hints, popped.unknown_merchants) == ([], [merchant])
    queue.set_terms([(MerchantLimits(merchant_id=merchant), True)])
    assert jobs_of(pop(queue)) == [job]


def test_an_inactive_merchants_hints_are_dropped(queue: ReadySet) -> None:
    merchant = new_id()
    queue.set_terms([(MerchantLimits(merchant_id=merchant), False)])
    queue.announce(NOW, hints(merchant, [new_id(), new_id()]))
    assert pop(queue).hints == []
    assert queue.depth(NOW).size == 0


def test_a_batch_whose_executor_died_comes_back(queue: ReadySet) -> None:
    merchant, job = a_merchant(queue), new_id()
    queue.announce(NOW, hints(merchant, [job]))
    assert jobs_of(pop(queue, token="died")) == [job]
    assert pop(queue, at=4, token="x").hints == []
    assert jobs_of(pop(queue, at=6, token="y")) == [job]


def test_a_batch_that_is_done_does_not_come_back(queue: ReadySet) -> None:
    merchant = a_merchant(queue)
    queue.announce(NOW, hints(merchant, [new_id()]))
    pop(queue, token="done")
    assert pop(queue, at=6, token="x", done=["done"]).hints == []
    queue.announce(NOW, hints(merchant, [new_id()]))
    pop(queue, token="last")
    queue.finish(["last"])
    assert pop(queue, at=20, token="y").hints == []


def test_an_executor_is_invoked_once_when_none_is_awake(queue: ReadySet) -> None:
    merchant = a_merchant(queue)
    assert queue.announce(NOW, hints(merchant, [new_id()])) is True
    assert queue.announce(NOW, hints(merchant, [new_id()])) is False
    pop(queue)
    assert queue.announce(NOW, hints(merchant, [new_id()])) is False


def test_nobody_is_woken_for_what_is_due_much_later(queue: ReadySet) -> None:
    assert queue.announce(NOW, hints(a_merchant(queue), [new_id()], due_at=NOW + seconds(80))) is False


def test_a_sleeper_is_woken_by_something_earlier_and_by_nothing_later(queue: ReadySet) -> None:
    merchant = a_merchant(queue)
    pop(queue)
    queue.sleep(0.01)  # from now on it listens
    queue.sleep(0.01)
    for due, least, most in ((30, 0.0, 0.2), (40, 0.3, 0.4), (20, 0.0, 0.2)):
        queue.announce(NOW, hints(merchant, [new_id()], due_at=NOW + seconds(due)))
        started = monotonic()
        queue.sleep(0.3)
        assert least <= monotonic() - started < most


def test_a_sleeper_is_woken_once_however_much_was_announced(queue: ReadySet) -> None:
    merchant = a_merchant(queue)
    pop(queue)
    queue.sleep(0.01)  # from now on it listens
    queue.sleep(0.01)
    for due in (30, 20, 10):
        queue.announce(NOW, hints(merchant, [new_id()], due_at=NOW + seconds(due)))
    time.sleep(0.1)  # what is published comes on another connection, and may come after the answer
    for least, most in ((0.0, 0.1), (0.2, 0.3)):
        started = monotonic()
        queue.sleep(0.2)
        assert least <= monotonic() - started < most


def test_a_newcomer_is_heard_of_and_whoever_has_something_ready_is_none(queue: ReadySet) -> None:
    large, small = a_merchant(queue), a_merchant(queue)
    pop(queue)
    queue.sleep(0.01)  # from now on it listens
    queue.sleep(0.01)
    assert not queue.newcomer_heard()
    queue.announce(NOW, hints(large, [new_id() for _ in range(3)]))
    queue.announce(NOW, hints(large, [new_id()]))
    assert queue.newcomer_heard()
    queue.announce(NOW, hints(large, [new_id()]))
    assert not queue.newcomer_heard()
    queue.announce(NOW, [*hints(large, [new_id()]), *hints(small, [new_id()])])
    queue.announce(NOW, hints(large, [new_id()]))
    assert queue.newcomer_heard()
    pop(queue)
    queue.announce(NOW, hints(small, [new_id()], due_at=NOW + seconds(1)))
    assert not queue.newcomer_heard()
    queue.announce(NOW, hints(small, [new_id()]))
    queue.ping()  # what was published may come a moment after the answer
    assert queue.newcomer_heard()


def test_a_sleep_ends_on_time(queue: ReadySet) -> None:
    queue.sleep(0.01)
    queue.sleep(0.01)
    for span in (0.003, 0.017, 0.052):
        started = monotonic()
        queue.sleep(span)
        assert monotonic() - started == pytest.approx(span, abs=0.01)


def test_room_is_bounded_and_the_rest_is_remembered(redis_url: str) -> None:
    with roomy(redis_url, 1_000) as queue:
        for _ in range(40):
            queue.announce(NOW, hints(a_merchant(queue), [new_id() for _ in range(1_500)]))
        assert 990 <= queue.depth(NOW).size <= 1_062
        assert pop(queue).has_more


@pytest.mark.parametrize(("backlogs", "each"), [(1, 875), (2, 466), (3, 318)])
def test_backlogs_leave_room_for_the_next(redis_url: str, backlogs: int, each: int) -> None:
    """As many as seven times the room that all of them leave: what is announced beside them need not wait."""
    with roomy(redis_url, 1_000) as queue:
        large, small, due, soon = [a_merchant(queue) for _ in range(backlogs)], a_merchant(queue), new_id(), new_id()
        for _ in range(10):
            queue.announce(
                NOW, [hint for merchant in large for hint in hints(merchant, [new_id() for _ in range(300)])]
            )
        queue.announce(NOW, hints(small, [soon], due_at=NOW + seconds(5)))
        queue.announce(NOW, hints(small, [due]))
        assert queue.depth(NOW).size == pytest.approx(backlogs * each + 2, abs=backlogs)
        assert queue.resume().left_out_from == Place(NOW - seconds(0.001), UUID(int=0))
        assert due in jobs_of(pop(queue, token="a", most=10))
        assert soon in jobs_of(pop(queue, at=5, token="b", most=10, done=["a"]))


@pytest.mark.parametrize("at_once", [True, False])
def test_what_falls_due_leaves_room_for_others_too(redis_url: str, at_once: bool) -> None:
    with roomy(redis_url, 1_000) as queue:
        large, small, soon = a_merchant(queue, max_concurrency=1), a_merchant(queue), new_id()
        for number in range(20):
            due_at = NOW + seconds(1 if at_once else 1 + number / 20)
            queue.announce(NOW, hints(large, [new_id() for _ in range(50)], due_at=due_at))
        assert not pop(queue).has_more
        assert len(pop(queue, at=2, token="a").hints) == 1
        assert queue.depth(NOW).size == 874
        queue.announce(NOW + seconds(2), hints(small, [soon], due_at=NOW + seconds(5)))
        assert jobs_of(pop(queue, at=5, token="b", done=["a"])) == [soon]
        left_out_from = queue.resume().left_out_from
        assert left_out_from is not None
        assert NOW <= left_out_from.due_at <= NOW + seconds(2)


def test_the_next_look_is_when_something_is_due_next(queue: ReadySet) -> None:
    merchant, [first, second, moved] = a_merchant(queue), [new_id() for _ in range(3)]
    queue.announce(NOW, hints(merchant, [first], due_at=NOW + seconds(1)))
    queue.announce(NOW, hints(merchant, [second], due_at=NOW + seconds(5)))
    popped = pop(queue, at=1)
    assert (jobs_of(popped), popped.look_again_seconds) == ([first], 4.0)
    queue.announce(NOW, hints(merchant, [moved], due_at=NOW + seconds(6)))
    queue.announce(NOW, hints(merchant, [second, moved], due_at=NOW + seconds(9)))  # its due time was changed
    assert pop(queue, at=5, token="b", done=["t"]).look_again_seconds == 4.0


def test_who_has_much_due_at_one_time_holds_nobody_up(queue: ReadySet) -> None:
    """As at midnight: the first who made a template of its own for then has no more of a pop than the last."""
    large, small = a_merchant(queue), [a_merchant(queue) for _ in range(20)]
    for start in range(0, 20_000, 1_000):
        queue.announce(NOW, hints(large, [new_id() for _ in range(1_000)], due_at=NOW + seconds(1)))
        assert queue.depth(NOW).size == start + 1_000
    for merchant in small:
        queue.announce(NOW, hints(merchant, [new_id()], due_at=NOW + seconds(1)))
        queue.announce(NOW, hints(merchant, [new_id()], due_at=NOW + seconds(1.2)))
    first = Counter(merchant for merchant, _ in pop(queue, at=1, token="a", most=100).hints)
    assert first == {large.hex: 80, **{merchant.hex: 1 for merchant in small}}
    second = Counter(merchant for merchant, _ in pop(queue, at=1.2, token="b", done=["a"], most=100).hints)
    assert second == first
    for turn in range(5):  # and it gets all that the others leave
        assert len(pop(queue, at=1.3, token=f"c{turn}", most=2_000, done=["b", f"c{turn - 1}"]).hints) == 2_000


@pytest.mark.parametrize("lead", [0, 0.05])
def test_where_many_merchants_jobs_fall_due_at_one_time_nobodys_second_comes_before_anothers_first(
    queue: ReadySet, lead: float
) -> None:
    """As with templates at midnight. They are more than one pop looks at: it must not be the same ones each time."""
    merchants, each, batch = [a_merchant(queue) for _ in range(2_500)], 4, 1_000
    for start in range(0, len(merchants), 250):
        some = [hints(merchant, [new_id() for _ in range(each)]) for merchant in merchants[start : start + 250]]
        queue.announce(NOW - seconds(1), [hint for of_merchant in some for hint in of_merchant])
    got = Counter[str]()
    for turn in range(len(merchants) * each // batch):
        at = turn / 100 - lead
        popped = pop(queue, at=at, most=batch, token=f"t{turn}", done=[f"t{turn - 1}"], lead=seconds(lead))
        got.update(merchant for merchant, _ in popped.hints)
        assert got.total() == batch * (turn + 1)
        assert max(got.values()) - min(got[merchant.hex] for merchant in merchants) <= 1
    assert set(got.values()) == {each}


def test_whoever_has_a_job_due_only_now_does_not_wait_for_the_turns_of_many_others(queue: ReadySet) -> None:
    merchants, small = [a_merchant(queue) for _ in range(600)], a_merchant(queue)
    for start in range(0, len(merchants), 20):
        some = [hints(merchant, [new_id() for _ in range(50)]) for merchant in merchants[start : start + 20]]
        queue.announce(NOW - seconds(1), [hint for of_merchant in some for hint in of_merchant])
    queue.announce(NOW - seconds(1), hints(small, [new_id()], due_at=NOW + seconds(0.5)))
    for turn in range(5):
        popped = pop(queue, at=turn / 10, most=1_000, token=f"t{turn}", done=[f"t{turn - 1}"])
        assert small.hex not in {merchant for merchant, _ in popped.hints}
    assert small.hex in {merchant for merchant, _ in pop(queue, at=0.5, most=1_000, done=["t4"]).hints}


def test_what_is_due_of_a_merchant_counts_also_when_it_has_had_its_turn(queue: ReadySet) -> None:
    merchant = a_merchant(queue)
    for _ in range(3):
        queue.announce(NOW - seconds(1), hints(merchant, [new_id() for _ in range(1_000)]))
    pop(queue, most=10, lead=seconds(0.05))
    assert queue.depth(NOW).due == 2_990


@pytest.mark.parametrize("falls_due", [False, True])
def test_a_queue_that_must_not_grow_keeps_what_comes_first_in_it(redis_url: str, falls_due: bool) -> None:
    with roomy(redis_url, 80) as queue:
        merchant, urgent, idle = a_merchant(queue), new_id(), new_id()
        queue.announce(NOW, hints(merchant, [new_id() for _ in range(80)], due_at=NOW - seconds(1)))
        queue.announce(NOW, hints(merchant, [urgent], due_at=NOW + seconds(falls_due), priority=5))
        queue.announce(NOW, hints(merchant, [idle], due_at=NOW + seconds(falls_due), priority=-5))
        popped = jobs_of(pop(queue, at=1))
        assert len(popped) == 70
        assert popped[0] == urgent
        assert idle not in popped
        assert queue.resume().left_out_from == Place(NOW - seconds(1.001), UUID(int=0))


def test_a_merchant_with_nothing_ready_finds_room_in_a_full_set_but_not_without_bound(redis_url: str) -> None:
    with roomy(redis_url, 160) as queue:
        queue.announce(NOW, hints(a_merchant(queue), [new_id() for _ in range(200)]))
        for _ in range(40):
            queue.announce(NOW, hints(a_merchant(queue), [new_id() for _ in range(3)]))
        assert queue.depth(NOW).size == 170
        ready = Counter(merchant for merchant, _ in pop(queue, most=170).hints)
        assert sorted(ready.values()) == [1] * 10 + [2] + [3] * 6 + [140]


def test_room_that_is_short_is_shared_by_turns(redis_url: str) -> None:
    with roomy(redis_url, 100) as queue:
        large, small = a_merchant(queue), a_merchant(queue)
        to_come = hints(small, [new_id()], due_at=NOW + seconds(1))
        both = [hints(merchant, [new_id() for _ in range(60)]) for merchant in (large, small)]
        queue.announce(NOW, to_come + both[0] + both[1])
        popped = pop(queue, most=200)
        assert Counter(merchant for merchant, _ in popped.hints) == {large.hex: 47, small.hex: 47}
        assert popped.has_more


def test_a_full_set_keeps_what_is_due_first(redis_url: str) -> None:
    with roomy(redis_url, 100) as queue:
        merchant, soon, now_due = a_merchant(queue), new_id(), new_id()
        for due in range(100, 200):
            queue.announce(NOW, hints(merchant, [new_id()], due_at=NOW + seconds(due)))
        assert not pop(queue).has_more
        queue.announce(NOW, hints(merchant, [soon], due_at=NOW + seconds(5)))
        queue.announce(NOW, hints(merchant, [now_due], due_at=NOW))
        assert queue.depth(NOW).size == 100
        assert jobs_of(pop(queue, token="a")) == [now_due]
        assert jobs_of(pop(queue, at=5, token="b", done=["a"])) == [soon]
        assert len(pop(queue, at=149, token="c", done=["b"]).hints) == 50
        assert len(pop(queue, at=199, token="d", done=["c"]).hints) == 48
        assert pop(queue, at=199, token="e").has_more


def test_where_all_are_due_at_one_time_nobody_loses_all_to_a_full_set(redis_url: str) -> None:
    with roomy(redis_url, 1_000) as queue, Redis.from_url(redis_url) as client:
        merchants = [a_merchant(queue) for _ in range(40)]
        for number in range(5):
            due_at = NOW + seconds(0 if number == 4 else 10)
            some = [hints(merchant, [new_id() for _ in range(6)], due_at=due_at) for merchant in merchants]
            queue.announce(NOW, [hint for of_merchant in some for hint in of_merchant])
        assert queue.depth(NOW).size == 1_000
        kept = [client.zcard(f"{BASE_KEY}:later:{merchant.hex}") for merchant in merchants]
        assert sum(kept) == 1_000 - 240
        assert min(kept) >= 18
        tails = dict(client.zrange(f"{BASE_KEY}:tails", 0, -1, withscores=True))
        assert tails == {merchant.hex.encode(): milliseconds(NOW + seconds(10)) for merchant in merchants}


def test_who_has_something_due_later_loses_no_more_than_others_of_what_is_due_with_theirs(redis_url: str) -> None:
    with roomy(redis_url, 400) as queue, Redis.from_url(redis_url) as client:
        merchants = [a_merchant(queue) for _ in range(10)]
        for merchant in merchants:
            queue.announce(NOW, hints(merchant, [new_id() for _ in range(36)], due_at=NOW + seconds(10)))
        queue.announce(NOW, hints(merchants[0], [new_id() for _ in range(4)], due_at=NOW + seconds(20)))
        queue.announce(NOW, hints(a_merchant(queue), [new_id() for _ in range(90)]))
        kept = [client.zcard(f"{BASE_KEY}:later:{merchant.hex}") for merchant in merchants]
        assert sum(kept) == 310
        assert min(kept) >= 27


@pytest.mark.parametrize("others", [30, 300])
def test_of_many_that_are_due_at_one_time_who_has_a_few_loses_none_unless_all_have_no_more(
    redis_url: str, others: int
) -> None:
    with roomy(redis_url, 310) as queue, Redis.from_url(redis_url) as client:
        large = [a_merchant(queue) for _ in range(others)]
        small = [a_merchant(queue) for _ in range(10)]
        for merchant in (*large, *small):
            count = 300 // others if merchant in large else 1
            queue.announce(NOW, hints(merchant, [new_id() for _ in range(count)], due_at=NOW + seconds(10)))
        queue.announce(NOW, hints(a_merchant(queue), [new_id() for _ in range(25)]))
        assert queue.depth(NOW).size == 310
        kept = sum(client.zcard(f"{BASE_KEY}:later:{merchant.hex}") for merchant in small)
        assert kept == 10 or others == 300


def test_a_filling_goes_on_from_what_was_left_out(redis_url: str) -> None:
    with roomy(redis_url, 100) as queue:
        merchant = a_merchant(queue)
        queue.mark_filled(NOW, Progress())
        assert queue.resume() == Progress()
        queue.announce(NOW, hints(merchant, [new_id() for _ in range(99)], due_at=NOW + seconds(5)))
        queue.announce(NOW, hints(merchant, [new_id() for _ in range(3)], due_at=NOW + seconds(8)))
        queue.announce(NOW, hints(merchant, [new_id()], due_at=NOW + seconds(9)))
        assert queue.resume() == Progress(left_out_from=Place(NOW + seconds(7.999), UUID(int=0)))
        assert not pop(queue).has_more
        filled = Progress(cursor=Place(NOW + seconds(6), new_id()), light=Place(NOW, new_id()), heavy=(new_id(),))
        queue.mark_filled(NOW, filled)
        queue.announce(NOW, hints(merchant, [new_id()], due_at=NOW + seconds(9)))
        assert queue.resume() == filled._replace(left_out_from=Place(NOW + seconds(8.999), UUID(int=0)))
        assert queue.resume() == filled


def test_nothing_comes_in_behind_what_is_missing(redis_url: str) -> None:
    with roomy(redis_url, 100) as queue:
        merchant = a_merchant(queue)
        first = [new_id() for _ in range(50)]
        queue.announce(NOW, hints(merchant, first, due_at=NOW + seconds(1)))
        queue.announce(NOW, hints(merchant, [new_id() for _ in range(60)], due_at=NOW + seconds(20)))
        assert len(pop(queue, at=1, token="a").hints) == 50
        now = NOW + seconds(1)
        queue.announce(now, hints(merchant, [new_id() for _ in range(30)], due_at=NOW + seconds(30)))
        queue.announce(now, hints(merchant, [new_id() for _ in range(3)], due_at=NOW + seconds(19)))
        assert queue.depth(now).size == 53
        queue.resume()  # a filling has begun
        queue.announce(now, hints(merchant, [new_id()], due_at=NOW + seconds(30)))
        queue.mark_filled(now, Progress(cursor=Place(NOW + seconds(25), new_id())))
        queue.announce(now, hints(merchant, [new_id()], due_at=NOW + seconds(25)))
        queue.announce(now, hints(merchant, [new_id()], due_at=NOW + seconds(24)))
        assert queue.depth(now).size == 55
        assert queue.resume().left_out_from == Place(NOW + seconds(24.999), UUID(int=0))
        queue.mark_filled(now, Progress(cursor=Place(NOW, new_id()), light=Place(NOW + seconds(22), new_id())))
        queue.announce(now, hints(merchant, [new_id()], due_at=NOW + seconds(23)))
        assert queue.depth(now).size == 55
        queue.mark_filled(now, Progress(cursor=Place(NOW, new_id())))
        queue.resume()
        queue.announce(now, hints(merchant, [new_id()], due_at=NOW + seconds(23)))
        assert queue.depth(now).size == 56


def test_a_filling_takes_nobodys_room_but_what_is_due_later_than_its_own(redis_url: str) -> None:
    with roomy(redis_url, 800) as queue:  # a filling may have 700 of it
        merchant = a_merchant(queue)
        queue.announce(NOW, hints(merchant, [new_id() for _ in range(750)], due_at=NOW + seconds(50)))
        assert queue.fill(NOW, grouped(backlog(merchant, 20, due=0))).left_out == 0
        assert queue.fill(NOW, grouped(backlog(merchant, 20, due=40))).left_out == 0
        assert queue.fill(NOW, grouped(backlog(merchant, 20, due=60))).left_out == 20
        assert queue.depth(NOW).size == 770
        assert not pop(queue, most=0).has_more  # the filling's own business
        assert len(pop(queue, at=40, token="a").hints) == 40


@given(given_hints=st.lists(ANY_HINTS, max_size=8), room=st.integers(3, 40))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_finds_no_room_is_due_last_and_the_next_filling_begins_before_it(
    redis_url: str, given_hints: list[list[Hint]], room: int
) -> None:
    with Redis.from_url(redis_url) as client:
        client.flushall()
        with roomy(redis_url, room) as queue:
            for each in given_hints:
                queue.announce(NOW, each)
            held = contents(client)
            queues = {key.rsplit(b":", 1)[1]: dict(held[key]) for key in held if b":ready:" in key}
            ready = {member for members in queues.values() for member in members}
            to_come = {member: due for key in held if b":later:" in key for member, due in held[key]}
            assert int(held.get(b"{ts:0}:3:later_count", 0)) == len(to_come)
            assert len(ready) + len(to_come) <= room + room // 16
            announced = {
                f"{hint.merchant_id.hex}{hint.job_id.hex}:{hint.priority}".encode(): (hint.due_at, hint.job_id)
                for each in given_hints
                for hint in each
            }
            missing = {member: when for member, when in announced.items() if member not in ready | to_come.keys()}
            place = queue.resume().left_out_from
            assert place is None or not missing or place < min(missing.values())
            assert not missing or place is not None
            for member, (due_at, _) in missing.items():
                if due_at > NOW:
                    assert max(to_come.values(), default=0) <= milliseconds(due_at)
                else:
                    queue_of_its = queues.get(member[:32], {})
                    assert len(queue_of_its) >= ROOM_SHARE * (room - len(ready))
                    assert max(queue_of_its.values(), default=0) <= score_of(member, due_at)


@given(steps=st.lists(ANY_HINTS | st.sampled_from([0.0, 1.0, 2.0]), max_size=10), room=st.integers(3, 40))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_the_set_knows_of_itself_is_true(redis_url: str, steps: list[list[Hint] | float], room: int) -> None:
    """Whatever is announced, and popped at whatever time: counts, first and last due times, whose turn it may be."""
    with Redis.from_url(redis_url) as client:
        client.flushall()
        with roomy(redis_url, room) as queue:
            queue.set_terms([(MerchantLimits(merchant_id=merchant), True) for merchant in MERCHANTS])
            for number, step in enumerate(steps):
                if isinstance(step, float):
                    pop(queue, at=step, most=5, token=str(number))
                else:
                    queue.announce(NOW, step)
            held = contents(client)
    ready, later = (
        {key.rsplit(b":", 1)[1]: [score for _, score in held[key]] for key in held if kind in key}
        for kind in (b":ready:", b":later:")
    )
    assert int(held.get(b"{ts:0}:3:ready_count", 0)) == sum(map(len, ready.values()))
    assert int(held.get(b"{ts:0}:3:later_count", 0)) == sum(map(len, later.values()))
    assert {merchant for merchant, _ in held.get(b"{ts:0}:3:ring", [])} == ready.keys()
    heads, tails = dict(held.get(b"{ts:0}:3:heads", [])), dict(held.get(b"{ts:0}:3:tails", []))
    assert heads.keys() == tails.keys() == later.keys()
    assert all(heads[merchant] <= min(later[merchant]) for merchant in later)
    assert all(tails[merchant] >= max(later[merchant]) for merchant in later)


@given(before=ANY_HINTS, given_hints=ANY_HINTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_has_room_is_the_same_set_whether_it_was_added_at_once_or_one_by_one(
    redis_url: str, before: list[Hint], given_hints: list[Hint]
) -> None:
    """Only the number of hints tells that there may be too little room: those that are there already need none."""
    with Redis.from_url(redis_url) as client:
        sets, room = [], 1_000_000
        for _ in range(2):
            client.flushall()
            with roomy(redis_url, 1_000_000) as queue:
                queue.announce(NOW, before)
            with roomy(redis_url, room) as queue:
                queue.announce(NOW, given_hints * 3)
                room = 2 * queue.depth(NOW).size + 2
            sets.append(contents(client))
    assert sets[0] == sets[1]


def test_an_emptied_set_says_that_it_must_be_rebuilt(queue: ReadySet, redis_url: str) -> None:
    """I1: a flush is noticed by the next pop."""
    assert pop(queue).must_rebuild
    queue.mark_filled(NOW, Progress())
    assert not pop(queue).must_rebuild
    with Redis.from_url(redis_url) as client:
        client.flushall()
    assert pop(queue).must_rebuild


def test_a_set_that_somebody_fills_need_not_be_rebuilt_by_others(queue: ReadySet) -> None:
    assert queue.take_duty("refill", "somebody", seconds=5)
    popped = pop(queue)
    assert (popped.must_rebuild, popped.being_filled) == (False, True)
    queue.mark_filled(NOW, Progress())
    assert not pop(queue).being_filled
    queue.mark_incomplete()
    assert queue.leave_duty("refill", "somebody")
    assert pop(queue).must_rebuild


def test_an_incomplete_set_is_not_whole_because_more_of_it_is_filled(queue: ReadySet) -> None:
    queue.mark_filled(NOW, Progress(), whole=False)
    assert not queue.is_whole()
    queue.mark_filled(NOW, Progress())
    queue.mark_filled(NOW, Progress(), whole=False)
    assert queue.is_whole()


def test_every_key_shares_one_hash_tag(queue: ReadySet, redis_url: str) -> None:
    merchant = a_merchant(queue, max_concurrency=5, rate_limit_per_second=100)
    queue.announce(NOW, hints(merchant, [new_id()]) + hints(merchant, [new_id()], due_at=NOW + seconds(5)))
    pop(queue)
    queue.announce_cancelled(NOW, [new_id()])
    queue.mark_filled(NOW, Progress(cursor=Place(NOW, new_id()), light=Place(NOW, new_id()), heavy=(merchant,)))
    with Redis.from_url(redis_url) as client:
        keys = client.keys("*")
    assert len(keys) > 8
    assert all(key.startswith(b"{ts:0}:3:") for key in keys)


def test_merchants_are_told_by_when_their_next_job_is_due(queue: ReadySet) -> None:
    soon, sooner, late = (new_id() for _ in range(3))
    for merchant, due in ((soon, 4), (sooner, 2), (late, 7)):
        queue.announce(NOW, hints(merchant, [new_id(), new_id()], due_at=NOW + seconds(due)))
    queue.announce(NOW, hints(new_id(), [new_id()]))  # ready, not to come
    assert queue.merchants_due_by(NOW + seconds(5), most=10) == [sooner, soon]
    assert queue.merchants_due_by(NOW + seconds(5), most=1) == [sooner]


def test_cancellations_are_seen_by_whoever_asks(queue: ReadySet) -> None:
    job = new_id()
    queue.announce_cancelled(NOW, [job])
    assert queue.cancelled_since(NOW - seconds(1)) == [job]
    assert queue.cancelled_since(NOW + seconds(1)) == []


def test_a_duty_is_held_by_one(queue: ReadySet) -> None:
    assert queue.take_duty("watch", "a", seconds=10)
    assert queue.take_duty("watch", "a", seconds=10)
    assert not queue.take_duty("watch", "b", seconds=10)
    assert not queue.keep_duty("watch", "b", seconds=10)
    assert not queue.leave_duty("watch", "b")
    assert queue.on_duty("watch")
    assert queue.leave_duty("watch", "a")
    assert queue.take_duty("watch", "b", seconds=10)


def test_one_fills_at_a_time_and_hears_at_the_end_whether_anything_got_lost(queue: ReadySet) -> None:
    assert queue.begin_filling("a", seconds=10) == 0
    assert queue.begin_filling("b", seconds=10) is None
    assert queue.end_filling("a", 0)
    assert queue.begin_filling("b", seconds=10) == 0
    queue.mark_incomplete()
    assert not queue.end_filling("b", 0)
    assert queue.begin_filling("a", seconds=10) == 1  # it is over all the same
    assert queue.end_filling("a", 1)


def test_who_did_not_get_to_end_a_filling_may_begin_another(queue: ReadySet, redis_url: str) -> None:
    assert queue.begin_filling("a", seconds=1) == 0
    assert queue.begin_filling("a", seconds=60) == 0
    with Redis.from_url(redis_url) as client:
        assert 50_000 < client.pttl(f"{BASE_KEY}:duty:refill") <= 60_000
        client.flushall()
    assert not queue.end_filling("a", 0)


def test_a_set_that_is_distrusted_is_to_be_filled_now_and_once_more_later(queue: ReadySet) -> None:
    queue.mark_filled(NOW, Progress())
    queue.distrust(NOW, seconds=2)
    assert pop(queue).must_rebuild
    queue.mark_filled(NOW, Progress())
    popped = pop(queue, at=1.5)
    assert (popped.must_rebuild, popped.look_again_seconds) == (False, 0.5)
    losses = queue.begin_filling("one", seconds=5)
    assert losses is not None
    assert pop(queue, at=2).being_filled
    assert not queue.end_filling("one", losses)  # it may have begun too early
    assert pop(queue, at=2).must_rebuild
    queue.mark_filled(NOW, Progress())
    assert not pop(queue, at=3).must_rebuild


def test_while_a_set_is_distrusted_somebody_stays_awake_and_whoever_comes_is_needed(queue: ReadySet) -> None:
    queue.mark_filled(NOW, Progress())
    assert arrive(queue) is Arrival.IDLE
    queue.distrust(NOW, seconds=2)
    queue.mark_filled(NOW, Progress())
    assert arrive(queue) is Arrival.NEEDED
    assert not queue.leave(NOW, executor="one", jobs_per_executor=1)
    pop(queue, at=2)
    assert not queue.leave(NOW + seconds(2), executor="one", jobs_per_executor=1)
    queue.mark_filled(NOW, Progress())
    assert queue.leave(NOW + seconds(2), executor="one", jobs_per_executor=1)


@pytest.mark.parametrize(
    "say", [ReadySet.mark_incomplete, partial(ReadySet.distrust, now=NOW, seconds=2)], ids=["incomplete", "distrusted"]
)
def test_a_sleeper_is_woken_when_something_may_be_missing_in_the_set(
    queue: ReadySet, redis_url: str, say: Callable[[ReadySet], None]
) -> None:
    until_listening(redis_url, 0)
    queue.sleep(0)
    until_listening(redis_url, 1)
    with ReadySet.connect(QueueSettings(redis_url=redis_url)) as other:
        say(other)
    began = monotonic()
    queue.sleep(1)
    assert monotonic() - began < 0.5


def arrive(queue: ReadySet) -> Arrival:
    return queue.arrive(NOW, executor="one", jobs_per_executor=1, ticked=False)


def test_a_duty_that_is_kept_lasts_longer_and_one_that_was_lost_does_not_come_back(
    queue: ReadySet, redis_url: str
) -> None:
    assert queue.take_duty("watch", "a", seconds=1)
    assert queue.keep_duty("watch", "a", seconds=60)
    with Redis.from_url(redis_url) as client:
        assert 50_000 < client.pttl(f"{BASE_KEY}:duty:watch") <= 60_000
        client.flushall()
    assert not queue.keep_duty("watch", "a", seconds=60)
    assert not queue.on_duty("watch")
    assert not queue.leave_duty("watch", "a")


def test_a_redis_that_hangs_is_asked_once(redis_server: RedisServer) -> None:
    with ReadySet.connect(QueueSettings(redis_url=redis_server.url, redis_timeout_seconds=0.2)) as queue:
        queue.mark_incomplete()
        began = monotonic()
        with hanging(redis_server), pytest.raises(QueueUnavailableError):
            queue.mark_incomplete()
        assert monotonic() - began < 2


def test_a_connection_that_was_lost_is_made_anew(redis_server: RedisServer) -> None:
    with ReadySet.connect(QueueSettings(redis_url=redis_server.url)) as queue:
        queue.mark_filled(NOW, Progress())
        with Redis.from_url(redis_server.url) as other:
            other.client_kill_filter(_type="normal", skipme=True)
        assert queue.is_whole()


def test_a_redis_that_is_away_is_one_kind_of_error() -> None:
    queue = ReadySet.connect(QueueSettings(redis_url="redis://127.0.0.1:1"))
    with pytest.raises(QueueUnavailableError):
        pop(queue)
    queue.close()
