"""Who is on board, and when a lease may be ended: never while one of its jobs may run."""

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident
from time import sleep

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from executor.roster import AHEAD_SECONDS, FEW_SHARE, Roster
from scheduler_core.domain.fairness import allowance
from scheduler_core.domain.jobs import AttemptKey, ClaimedJob
from tests.builders import claimed_job, new_id


def keys(jobs: Iterable[ClaimedJob]) -> list[AttemptKey]:
    return [(job.id, job.attempt) for job in jobs]


class Board(RuleBasedStateMachine):
    """The roster, and beside it what PostgreSQL would have: jobs that run, and leases."""

    def __init__(self) -> None:
        super().__init__()
        self.roster = Roster(1_000, 1_000)
        self.running: dict[AttemptKey, ClaimedJob] = {}
        self.leases: set[int] = set()
        self.known: list[ClaimedJob] = []
        self.given_up: set[int] = set()
        self.batches = 0

    @rule(count=st.integers(0, 4))
    def a_batch_is_claimed(self, count: int) -> None:
        self.batches += 1
        jobs = [claimed_job(lease_id=self.batches) for _ in range(count)]
        self.leases.add(self.batches)
        self.running.update(zip(keys(jobs), jobs, strict=True))
        self.known += jobs
        self.roster.add(self.batches, jobs)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def deliveries_end(self, data: st.DataObject) -> None:
        self.roster.delivered(self.some(data))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), cut_off_between=st.booleans())
    def ends_are_recorded(self, data: st.DataObject, cut_off_between: bool) -> None:
        """Any results, some of them twice or of jobs that are gone; the heartbeat may cut jobs off meanwhile."""
        results = self.some(data)
        spent = self.roster.spent_after(results)
        if cut_off_between:
            self.the_heartbeat_cuts_off(data)
        self.forget(results)
        self.leases.difference_update(spent)
        self.roster.remove(results)
        self.roster.ended(spent)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def recording_is_given_up(self, data: st.DataObject) -> None:
        results = self.some(data)
        self.roster.spent_after(results)
        self.given_up |= {job.lease_id for job in results if job in self.roster.held()}
        self.roster.forsake(results)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def the_heartbeat_cuts_off(self, data: st.DataObject) -> None:
        """Cancelled, or another's by now: they run no more."""
        jobs = self.some(data)
        self.forget(jobs)
        self.roster.remove(jobs)

    @rule()
    def the_heartbeat_ends_what_is_spent(self) -> None:
        spent = self.roster.spent_after(())
        self.leases.difference_update(spent)
        self.roster.ended(spent)
        assert self.roster.spent_after(()) == []

    @invariant()
    def whatever_runs_has_its_lease(self) -> None:
        assert {job.lease_id for job in self.running.values()} <= self.leases

    @invariant()
    def no_lease_is_left_without_anybody_on_board(self) -> None:
        """But what is spent, which the next statement ends, and what has to run out."""
        on_board = {job.lease_id for job in self.roster.held()}
        running = {job.lease_id for job in self.running.values()}
        assert self.leases - on_board - set(self.roster.spent_after(())) <= running | self.given_up

    @invariant()
    def what_was_given_up_is_remembered_no_longer_than_its_lease_has_somebody_on_board(self) -> None:
        assert self.roster._forsaken <= {job.lease_id for job in self.roster.held()}

    def some(self, data: st.DataObject) -> list[ClaimedJob]:
        drawn: list[ClaimedJob] = data.draw(st.lists(st.sampled_from(self.known), max_size=6))
        return drawn

    def forget(self, jobs: Iterable[ClaimedJob]) -> None:
        for key in keys(jobs):
            self.running.pop(key, None)


TestBoard = Board.TestCase
TestBoard.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_what_is_coming_counts_as_held() -> None:
    roster, merchant = Roster(768, 2_000), new_id()
    large, small = merchant.int, new_id().int
    roster.add(1, [claimed_job(merchant_id=merchant) for _ in range(100)])
    before, _ = roster.allowances(Counter())
    after, of_each = roster.allowances(Counter({large: 476, small: 1}))
    assert before == allowance(0, 668)
    assert after == allowance(0, 191)
    assert of_each == {large: 0}  # the small one has a few: any other's share is its own


def test_a_merchant_is_counted_for_what_is_under_way_and_nothing_that_has_ended() -> None:
    roster, merchant, limit = Roster(768, 2_000), new_id(), 768
    jobs = [claimed_job(merchant_id=merchant) for _ in range(300)]
    roster.add(1, jobs)
    for start in range(0, 200, 20):
        roster.delivered(jobs[start : start + 20])
        for _ in range(2):
            left = 280 - start
            assert roster.allowances(Counter()) == (
                allowance(0, limit - left),
                {merchant.int: allowance(left, limit - left)},
            )
    roster.delivered(jobs[:200])  # once more, as results that come late
    roster.remove(jobs[100:250])
    assert roster.allowances(Counter())[1] == {merchant.int: allowance(50, limit - 50)}
    roster.add(2, [claimed_job(merchant_id=merchant) for _ in range(10)])
    roster.forsake(jobs)
    assert roster.allowances(Counter()) == (allowance(0, limit - 10), {})  # ten are few


@given(st.lists(st.integers(1, 60), max_size=40))
def test_few_merchants_have_a_share_of_their_own_and_of_no_others_it_would_be_much_smaller(held: list[int]) -> None:
    """At midnight there may be as many merchants as jobs, and each that is named is said to the ready set."""
    limit = 768
    roster, merchants = Roster(limit, 2_000), {new_id(): count for count in held}
    for merchant, count in merchants.items():
        roster.add(1, [claimed_job(merchant_id=merchant) for _ in range(count)])
    most_each, named = roster.allowances(Counter())
    room = max(0, limit - sum(held))
    assert most_each == allowance(0, room)
    for merchant, count in merchants.items():
        assert named.get(merchant.int, most_each) - allowance(count, room) <= limit / FEW_SHARE
    assert len(named) < FEW_SHARE


def test_as_much_is_held_ahead_as_was_delivered_of_late_and_nothing_where_targets_are_slow() -> None:
    now = [0.0]
    roster = Roster(10, 1_000, ahead=4, clock=lambda: now[0])
    quick, slow = [claimed_job() for _ in range(3)], [claimed_job() for _ in range(10)]
    roster.add(1, quick)
    assert (roster.limit(), roster.room()) == (10, 7)
    roster.delivered(quick)
    now[0] += AHEAD_SECONDS
    assert (roster.limit(), roster.room()) == (13, 13)
    roster.add(2, slow)
    assert roster.room() == 3
    now[0] += AHEAD_SECONDS
    assert (roster.limit(), roster.room()) == (10, 0)


def test_no_more_is_held_ahead_than_a_batch() -> None:
    now = [0.0]
    roster = Roster(10, 1_000, ahead=4, clock=lambda: now[0])
    jobs = [claimed_job() for _ in range(9)]
    roster.add(1, jobs)
    roster.delivered(jobs)
    now[0] += AHEAD_SECONDS
    assert roster.limit() == 14


def test_what_was_delivered_long_ago_does_not_count() -> None:
    now = [0.0]
    roster = Roster(10, 1_000, ahead=4, clock=lambda: now[0])
    jobs = [claimed_job()]
    roster.add(1, jobs)
    roster.delivered(jobs)
    now[0] += 2 * AHEAD_SECONDS
    assert roster.limit() == 10


def test_who_waits_for_room_is_woken_when_there_is_enough_of_it_and_who_waits_for_the_end_at_the_end() -> None:
    roster = Roster(3, 1_000)
    jobs = [claimed_job(lease_id=1) for _ in range(3)]
    roster.add(1, jobs)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(roster.wait_for_room, 2, 30.0)
        roster.delivered(jobs[:1])
        assert not waiting.done()
        roster.delivered(jobs[1:2])
        assert waiting.result(timeout=5)
        waiting = pool.submit(roster.wait_until_empty, 30.0)
        roster.delivered(jobs[2:])
        roster.remove(jobs[1:])
        assert not waiting.done()
        roster.remove(jobs[:1])
        assert waiting.result(timeout=5)


def test_less_room_than_is_waited_for_wakes_nobody() -> None:
    looks: Counter[int] = Counter()

    def clock() -> float:
        looks[get_ident()] += 1
        return 0.0

    roster = Roster(9, 1_000, clock=clock)
    jobs = [claimed_job(lease_id=1) for _ in range(9)]
    roster.add(1, jobs)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: (get_ident(), roster.wait_for_room(9, 30.0)))
        while len(looks) < 1:
            sleep(0.001)
        for job in jobs:
            sleep(0.005)
            roster.delivered([job])
        waiter, has_room = waiting.result(timeout=5)
    assert has_room
    assert looks[waiter] == 2, "once before it waits, once when there is enough"


def test_who_waits_for_room_is_woken_when_what_was_not_recorded_is() -> None:
    roster = Roster(10, 2)
    jobs = [claimed_job(lease_id=1) for _ in range(2)]
    roster.add(1, jobs)
    roster.delivered(jobs)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(roster.wait_for_room, 1, 30.0)
        roster.remove(jobs[:1])
        assert waiting.result(timeout=5)
