"""The executor's main loop: pop, claim, hand to the courier, until there is nothing to do or no time left."""

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from executor.merchant_book import MerchantBook
from executor.roster import Roster
from scheduler_core.clock import monotonic
from scheduler_core.delivery.parcels import Parcel
from scheduler_core.domain.errors import DatabaseUnavailableError, QueueUnavailableError, StatementAbortedError
from scheduler_core.domain.jobs import AttemptRecord, ClaimedJob, Hint, RunningJob
from scheduler_core.domain.outcomes import DeliveryResult, Verdict, expiry_due
from scheduler_core.observability.log import logger
from scheduler_core.observability.outage import Outage
from scheduler_core.queueing.ready_set import VISIBILITY_SECONDS, Popped, ReadySet
from scheduler_core.services.announcing import DOUBT_SECONDS
from scheduler_core.services.refilling import LIGHT_SHARE, Refiller
from scheduler_core.storage import claims
from scheduler_core.storage.claims import HexHint
from scheduler_core.storage.database import Database

PAUSE_SECONDS = 0.2
"""How long to wait for a store that is away."""
ROOM_SECONDS = 0.005
"""How long to wait for room for a worthwhile batch between two looks for a newcomer, for whom a small one is taken."""
ROOM_LOOKS = 8
"""After so many looks, 40 ms in all, a small batch is taken anyhow."""
WORTHWHILE_SHARE = 2 / 3
"""The room that is worth a statement, as a share of all: less would make claims small, which cost PostgreSQL nearly as
much as large ones; more would leave the courier without work while the next are claimed."""
LIGHT_SECONDS = 1.0
"""How often what is not of heavy merchants is read on at most: some of it may be read again each time."""
OTHERS_FILL_SECONDS = 0.01
"""How long to wait between two looks while another executor fills the set and there is nothing in it yet."""
MEET_AHEAD = timedelta(seconds=5)
"""How long before their jobs are due merchants are looked up."""
MEET_SECONDS = 1.0
MEET_AT_ONCE = 250
"""So many with one statement: some 10 ms, for which a job that is due meanwhile has to wait."""
MEET_MOST = 5_000
"""Beyond that they are looked up when they are due."""
REFILL_END_SECONDS = 5.0
# What `_make` does, without a call of Python's own for each of thousands.
_PARCEL = partial(tuple.__new__, Parcel)


class Sender(Protocol):
    """What the loop asks of the courier."""

    def submit(self, parcels: Sequence[Parcel]) -> None: ...


@dataclass(frozen=True, slots=True)
class RefillMarks:
    """When the ready set, which has room for `room` entries, is filled further."""

    room: int

    def wants_further(self, popped: Popped) -> bool:
        """Less than half the room is taken."""
        return popped.has_more and popped.left < self.room // 2

    def wants_light(self, popped: Popped) -> bool:
        """Of the room that backlogs leave, or of what is read at once, less than half is taken by what is to come."""
        beside_backlogs = self.room - (popped.left - popped.to_come)
        return popped.has_more_light and popped.to_come * 2 < min(self.room * LIGHT_SHARE, beside_backlogs)


@dataclass(slots=True, kw_only=True)
class Report:
    """What an invocation did."""

    popped: int = 0
    claimed: int = 0
    released: int = 0
    reason: str = "idle"
    more: bool = False
    """True: it ended for want of time although there was more to do."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Executor:
    """Wired by the handler; the loop itself runs in the invocation's main thread."""

    def __init__(
        self,
        database: Database,
        queue: ReadySet,
        refiller: Refiller,
        roster: Roster,
        book: MerchantBook,
        courier: Sender,
        take_results: Callable[[list[tuple[ClaimedJob, DeliveryResult]]], None],
        before_claim: Callable[[], None],
        *,
        executor_id: UUID,
        batch: int,
        lead: timedelta,
        lease: timedelta,
        idle_seconds: float,
        jobs_per_executor: int,
        refill_marks: RefillMarks,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._queue = queue
        self._refiller = refiller
        self._roster = roster
        self._book = book
        self._courier = courier
        self._take_results = take_results
        self._before_claim = before_claim
        self._executor_id = executor_id
        self._name = str(executor_id)
        self._batch = batch
        self._lead = lead
        self._lease = lease
        self._idle_seconds = idle_seconds
        self._jobs_per_executor = jobs_per_executor
        self._refill_marks = refill_marks
        self._light_filled_at = 0.0
        self._strangers: list[UUID] = []
        self._met_at = 0.0
        self._clock = clock
        self._refilling: threading.Thread | None = None
        self._broken_off = False
        self._done: list[str] = []
        self._unclaimed: dict[str, tuple[float, Popped]] = {}
        self._worked_at = monotonic()
        self._sees_more = False
        self._stay = False
        self._distrusts = False
        self._queue_outage = Outage("the ready queue", "waiting for it")
        self._database_outage = Outage("the database", "waiting for it")

    @property
    def distrusts(self) -> bool:
        """Whether the ready set may not have heard of some jobs, and has not been told so."""
        return self._distrusts

    def run(
        self,
        must_stop: Callable[[], bool],
        report: Report,
        *,
        stay: bool = False,
        redis_was_away: bool = False,
    ) -> None:
        """Work until there is nothing to do for a while, or `must_stop` says so. A store that is away is waited for.

        `stay`: only `must_stop` ends it, for where nobody could wake another one. `redis_was_away`: a moment ago, and
        what others had to say to it may be lost.
        """
        self._stay, self._distrusts = stay, redis_was_away
        self._worked_at = (
            monotonic() - self._idle_seconds
        )  # with nothing at hand at the start there is nothing to stay for
        while True:
            if must_stop():
                report.reason, report.more = "time", self._sees_more or self._distrusts
                self._step_down()
                return
            try:
                if self._unclaimed:
                    self._claim_again(report)
                if self._distrusts:
                    self._queue.distrust(self._clock(), seconds=DOUBT_SECONDS)
                    self._distrusts = False
                if self._turn(report):
                    return
            except QueueUnavailableError as error:
                self._distrusts = True
                self._queue_outage.goes_on(error)
                self._pause()
            except DatabaseUnavailableError as error:
                if isinstance(error, StatementAbortedError):
                    self._unclaimed.clear()  # it comes back to the set, and others are not kept waiting behind it
                self._database_outage.goes_on(error)
                self._pause()

    def give_back(self, jobs: Sequence[ClaimedJob], released: Callable[[datetime, RunningJob], AttemptRecord]) -> None:
        """Let others have the jobs that this executor will not deliver; at worst their leases run out."""
        now = self._clock()
        try:
            for start in range(0, len(jobs), self._batch):
                page = jobs[start : start + self._batch]
                spent = self._roster.spent_after(page)
                with self._database.transaction() as connection:
                    running = claims.running(connection, page)
                    records = [released(now, job) for job in running]
                    claims.record(connection, records, now=now, executor_id=self._executor_id, leases=spent)
                self._roster.remove(page)
                self._roster.ended(spent)
                self._queue.announce(now, [Hint(job.merchant_id, job.id, now, job.priority) for job in running])
        except DatabaseUnavailableError as error:
            self._distrusts = True  # they were, if only the answer was lost
            logger.warning("jobs could not be given back; their leases will run out", extra={"cause": str(error)})
        except QueueUnavailableError as error:
            self._distrusts = True
            logger.warning("jobs given back wait for the next filling", extra={"cause": str(error)})

    def finish(self) -> bool:
        """Say the last word to the ready set: this executor is gone, its batches are dealt with.

        Answers whether nobody fills the set any more.
        """
        self._step_down()
        if self._refilling is not None:
            self._refilling.join(REFILL_END_SECONDS)
        spent = self._roster.spent_after(())
        if spent:
            with suppress(DatabaseUnavailableError), self._database.statement() as connection:
                claims.end_leases(connection, spent)
        return not self._is_refilling()

    def _step_down(self) -> None:
        """Count as awake no longer: whoever announces something now must wake another."""
        try:
            self._queue.finish(self._done)
            self._queue.retire(self._name)
        except QueueUnavailableError as error:
            logger.warning("the ready queue is away; it will notice by itself", extra={"cause": str(error)})

    def _turn(self, report: Report) -> bool:
        """One round; True: this executor has left."""
        if not self._has_room():
            return False
        now = self._clock()
        popped = self._pop(now)
        self._sees_more = bool(popped.hints or popped.left or popped.has_more or popped.look_again_seconds is not None)
        if popped.unknown_merchants:
            self._queue.set_terms(self._book.look_up(now, popped.unknown_merchants))
            # Claimed by themselves and before the others' batch: they have been passed over once.
            self._take(self._pop(self._clock(), beside=popped.hints), report)
        if popped.must_rebuild or self._broken_off:
            self._take(popped, report)  # filling takes a while, and these are due
            self._end_refilling()
            refill = self._refiller.from_the_start(now) if self._broken_off else self._refiller.heal(now)
            self._broken_off = refill.busy and self._broken_off
            if refill.busy and not popped.hints:
                self._queue.sleep(OTHERS_FILL_SECONDS)
            return False
        if self._refill_marks.wants_further(popped):
            self._start_refilling(self._refiller.further, now)
        elif self._refill_marks.wants_light(popped) and monotonic() - self._light_filled_at >= LIGHT_SECONDS:
            self._light_filled_at = monotonic()
            self._start_refilling(self._refiller.beside, now)
        self._take(popped, report)
        self._meet(now, popped)
        if popped.hints or popped.unknown_merchants or self._strangers:
            return False
        if popped.being_filled:
            self._queue.sleep(OTHERS_FILL_SECONDS)
            return False
        return self._rest(now, popped)

    def _has_room(self) -> bool:
        """Wait for room for a worthwhile batch; for a newcomer, or when that takes long, any room will do.

        A newcomer is a merchant that had nothing ready until now.
        """
        newcomer = False
        for _ in range(ROOM_LOOKS):
            worthwhile = max(1, min(self._batch, int(self._roster.limit() * WORTHWHILE_SHARE)))
            if self._roster.wait_for_room(worthwhile, ROOM_SECONDS):
                return True
            newcomer = newcomer or self._queue.newcomer_heard()
            if newcomer and self._roster.room() >= 1:
                return True
        return self._roster.room() >= 1

    def _meet(self, now: datetime, popped: Popped) -> None:
        """Look up whose jobs fall due soon, some of them with each turn: when they are due there is no time for it."""
        soon = popped.look_again_seconds is not None and popped.look_again_seconds < MEET_AHEAD.total_seconds()
        if not self._strangers and soon and monotonic() - self._met_at >= MEET_SECONDS:
            self._met_at = monotonic()
            coming = self._queue.merchants_due_by(now + MEET_AHEAD, most=MEET_MOST)
            self._strangers = self._book.strangers(now + 2 * MEET_AHEAD, coming)  # so as to know them when they are due
        if self._strangers:
            some, self._strangers = self._strangers[:MEET_AT_ONCE], self._strangers[MEET_AT_ONCE:]
            self._queue.set_terms(self._book.look_up(now, some))

    def _take(self, popped: Popped, report: Report) -> None:
        if popped.hints:
            self._before_claim()
            # By the clock after the pop: what was announced meanwhile is due, and a claim that refuses it loses it.
            report.claimed += self._claim(self._clock(), popped)
            report.popped += len(popped.hints)
            self._worked_at = monotonic()

    def _claim_again(self, report: Report) -> None:
        """Batches that are popped and not claimed, for a store was away. PostgreSQL may have done it unheard.

        Whoever is gone before that leaves them to the set, to which they come back by themselves. So do those that have
        waited for so long that their places under concurrency limits may be others'.
        """
        for popped_at, popped in [*self._unclaimed.values()]:
            if monotonic() - popped_at < self._lease.total_seconds():
                self._take(popped, report)
            else:
                del self._unclaimed[popped.token]

    def _start_refilling(self, fill: Callable[[datetime], object], now: datetime) -> None:
        """In a thread of its own: what is in the set is delivered meanwhile."""
        if not self._is_refilling():
            self._refilling = threading.Thread(target=self._refill, args=(fill, now), name="refiller", daemon=True)
            self._refilling.start()

    def _is_refilling(self) -> bool:
        return self._refilling is not None and self._refilling.is_alive()

    def _refill(self, fill: Callable[[datetime], object], now: datetime) -> None:
        try:
            fill(now)
        except (QueueUnavailableError, DatabaseUnavailableError) as error:
            self._broken_off = True  # what was missing in the set is not known in it any more
            logger.warning("the ready set is filled later", extra={"cause": str(error)})

    def _end_refilling(self) -> None:
        if self._refilling is not None:
            self._refilling.join()
            self._refilling = None

    def _pop(self, now: datetime, beside: Sequence[HexHint] = ()) -> Popped:
        """A batch that fits in beside what is popped already and about to be claimed."""
        done, self._done = self._done, []
        most_each, allowances = self._roster.allowances(Counter(int(merchant, 16) for merchant, _ in beside))
        try:
            popped = self._queue.pop(
                now,
                executor=self._name,
                token=secrets.token_hex(8),
                most=max(0, min(self._batch, self._roster.room() - len(beside))),
                lead=self._lead,
                hold=self._lease,
                done=done,
                most_each=max(1, most_each),
                allowances=allowances,
            )
        except QueueUnavailableError:
            self._done = done
            raise
        self._queue_outage.is_over()
        if popped.hints:
            self._unclaimed[popped.token] = (monotonic(), popped)
        return popped

    def _claim(self, now: datetime, popped: Popped) -> int:
        lease_id = int(popped.token, 16) >> (4 * len(popped.token) - claims.LEASE_ID_BITS)  # the same when asked again
        with self._database.statement() as connection:
            claimed = claims.claim(
                connection,
                popped.hints,
                lease_id=lease_id,
                now=now,
                due_before=now + self._lead,
                lease=self._lease,
            )
        parcels, ended = self._packed(now, claimed)
        self._database_outage.is_over()
        popped_at, _ = self._unclaimed.pop(popped.token)  # not before: after a fault until here they are claimed again
        self._done.append(popped.token)
        self._roster.add(lease_id, claimed)
        if ended:
            self._take_results(ended)
        if parcels:
            self._courier.submit(parcels)
        if len(claimed) < len(popped.hints) and monotonic() - popped_at < VISIBILITY_SECONDS:
            self._give_unclaimed_back(popped, claimed)
        return len(claimed)

    def _packed(
        self, now: datetime, claimed: Sequence[ClaimedJob]
    ) -> tuple[list[Parcel], list[tuple[ClaimedJob, DeliveryResult]]]:
        """What is to be delivered, and what has ended without a delivery."""
        merchants = {job.merchant_id.int: job.merchant_id for job in claimed}
        entries = self._book.entries(now, merchants.values())
        parcels: list[Parcel] = []
        ended: list[tuple[ClaimedJob, DeliveryResult]] = []
        for job in claimed:
            entry = entries.get(job.merchant_id.int)
            if job.expires_at is not None and expiry_due(now, job.expires_at):
                ended.append((job, _without_delivery(now, Verdict.EXPIRED, "it was due after expires_at")))
            elif entry is None:
                ended.append((job, _without_delivery(now, Verdict.PERMANENT, "its merchant is gone")))
            else:
                parcels.append(_PARCEL((job, *entry.of_each_parcel)))
        return parcels, ended

    def _give_unclaimed_back(self, popped: Popped, claimed: list[ClaimedJob]) -> None:
        """Places under concurrency limits that stale hints have taken."""
        merchants = {merchant.hex for merchant in self._book.limited_merchants()}
        if not merchants:
            return
        held = {job.id.hex for job in claimed}
        limited = [hint for hint in popped.hints if hint[0] in merchants and hint[1] not in held]
        if limited:
            self._queue.release(limited)

    def _rest(self, now: datetime, popped: Popped) -> bool:
        """Sleep until something may be due; True: there is nothing to wait for, and this executor has left."""
        idle = monotonic() - self._worked_at >= self._idle_seconds
        if idle and not self._stay and not len(self._roster) and not self._is_refilling() and self._leaves(now):
            return True
        wait = 1.0 if popped.look_again_seconds is None else popped.look_again_seconds
        if popped.look_again_seconds is None and not idle:
            wait = min(wait, self._idle_seconds)
        if wait > 0:
            self._queue.sleep(wait)
        return False

    def _leaves(self, now: datetime) -> bool:
        return self._queue.leave(now, executor=self._name, jobs_per_executor=self._jobs_per_executor)

    def _pause(self) -> None:
        self._roster.wait_for_room(10**9, PAUSE_SECONDS)


def _without_delivery(now: datetime, verdict: Verdict, error: str) -> DeliveryResult:
    return DeliveryResult(verdict=verdict, started_at=now, finished_at=now, error=error)
