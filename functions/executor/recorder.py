"""The thread that writes the ends of attempts down, in bulk, and sees to what follows from them."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from executor.journal import Journal
from executor.merchant_book import MerchantBook
from executor.roster import Roster
from scheduler_core.clock import monotonic
from scheduler_core.delivery.parcels import Delivery
from scheduler_core.domain.errors import DatabaseUnavailableError, QueueUnavailableError
from scheduler_core.domain.jobs import AttemptOutcome, AttemptRecord, ClaimedJob, Hint, RunningJob
from scheduler_core.domain.outcomes import DeliveryResult, Verdict, decide, record
from scheduler_core.observability.log import logger
from scheduler_core.observability.outage import Outage
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services.announcing import Announcer
from scheduler_core.storage import claims, templates
from scheduler_core.storage.database import Database

RETRY_SECONDS = 0.2
BUSY_RESULTS = 16
"""Whoever writes at least so many at once is busy, and waits for more before the next statement: a small one costs
PostgreSQL nearly as much as a large one."""
GATHER_SECONDS = 0.02
"""How long at most: some hundred results of a busy courier, which hands them over a few dozen at a time."""


class _Moved(NamedTuple):
    """A job whose attempt did not simply complete it, and how it goes on."""

    claimed: ClaimedJob
    job: RunningJob
    result: DeliveryResult
    record: AttemptRecord


class Recorder:
    """Takes results from the courier's thread, decides, records; nobody else uses its connection."""

    def __init__(
        self,
        database: Database,
        queue: ReadySet,
        announcer: Announcer,
        roster: Roster,
        book: MerchantBook,
        journal: Journal,
        *,
        executor_id: UUID,
        batch: int,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._database = database
        self._queue = queue
        self._announcer = announcer
        self._roster = roster
        self._book = book
        self._journal = journal
        self._executor_id = executor_id
        self._batch = batch
        self._clock = clock
        self._jitter = jitter
        self._incoming: list[Delivery] = []
        self._changed = threading.Condition()
        self._wanted = 1
        self._closing = False
        self._gives_up_at = float("inf")
        self._busy = False
        self._outage = Outage("the database", "results wait for it")
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self, results: list[Delivery]) -> None:
        """Results to be recorded; returns at once. Called from any thread."""
        self._roster.delivered([job for job, _ in results])
        with self._changed:
            self._incoming += results
            if self._have_come(self._wanted):
                self._changed.notify()

    def close(self, seconds: float) -> bool:
        """Record what is left, for at most `seconds`; what is not recorded then is rescued when its lease runs out.

        Answers whether the thread has ended.
        """
        self._gives_up_at = monotonic() + seconds
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds + 1.0)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (results := self._next()) is not None:
            try:
                if results:
                    self._handle(results)
                else:
                    self._journal.tell()
            except Exception:  # noqa: BLE001 - this thread must outlive any batch; its jobs are rescued by their leases
                logger.exception("a batch of results could not be recorded")
                self._roster.forsake([job for job, _ in results])
        self._journal.tell()

    def _next(self) -> list[Delivery] | None:
        """Whatever has come in, up to a batch; nothing, if the journal has something to tell first. None: the end."""
        with self._changed:
            if not self._wait_for(1, self._journal.seconds_left()):
                return []
            if self._busy:
                self._wait_for(self._batch, GATHER_SECONDS)
            results, self._incoming = self._incoming[: self._batch], self._incoming[self._batch :]
        self._busy = len(results) >= BUSY_RESULTS
        return results or None

    def _wait_for(self, count: int, seconds: float | None = None) -> bool:
        """Until so many have come in, or all that will, or `seconds` have passed; answers whether they have come.

        Fewer wake nobody, for that would cost the courier its turn.
        """
        self._wanted = count
        return self._changed.wait_for(lambda: self._closing or self._have_come(count), seconds)

    def _have_come(self, count: int) -> bool:
        return len(self._incoming) >= count or (bool(self._incoming) and not self._roster.is_under_way)

    def _handle(self, results: list[Delivery]) -> None:
        now = self._clock()
        jobs = [job for job, _ in results]
        spent = self._roster.spent_after(jobs)
        done = [each for each in results if each[1].verdict is Verdict.DONE]
        others = [] if len(done) == len(results) else [each for each in results if each[1].verdict is not Verdict.DONE]
        moved = self._write(now, done, others, spent)
        if moved is None:
            self._roster.forsake(jobs)
            return
        self._roster.remove(jobs)
        self._roster.ended(spent)
        self._follow_up(now, jobs, moved)
        self._journal.ended(done, [(each.claimed, each.record) for each in moved])

    def _write(
        self, now: datetime, done: Sequence[Delivery], others: Sequence[Delivery], spent: Sequence[int]
    ) -> list[_Moved] | None:
        """How those `others` that were still ours go on, and the leases `spent` are ended; None: given up."""
        unheard = False
        while True:
            try:
                with self._database.statement() as connection:
                    moving = self._decided(now, connection, others)
                    # A lease ends with the last that is written of it.
                    first, last = ((), spent) if moving else (spent, ())
                    claims.complete(connection, done, now=now, executor_id=self._executor_id, leases=first)
                    records = [each.record for each in moving]
                    written = claims.record(connection, records, now=now, executor_id=self._executor_id, leases=last)
                self._outage.is_over()
                if unheard and len(written) < len(others):
                    # Some may have been written by a statement whose answer was lost, and go on unannounced.
                    self._announcer.own_up()
                fences = {(each.job_id, each.attempt) for each in written}
                return [each for each in moving if (each.job.id, each.job.attempt) in fences]
            except DatabaseUnavailableError as error:
                unheard = True
                count = len(done) + len(others)
                if monotonic() >= self._gives_up_at:
                    logger.error("results are given up; their leases will run out", extra={"count": count})
                    return None
                self._outage.goes_on(error, count=count)
                threading.Event().wait(RETRY_SECONDS)

    def _decided(self, now: datetime, connection: Connection[Any], others: Sequence[Delivery]) -> list[_Moved]:
        """What becomes of `others`; those that are another's by now are left out."""
        running = {(job.id, job.attempt): job for job in claims.running(connection, [job for job, _ in others])}
        moving = []
        for claimed, result in others:
            job = running.get((claimed.id, claimed.attempt))
            if job is not None:
                decision = decide(now, job, result, self._jitter())
                moving.append(_Moved(claimed, job, result, record(job, decision, result)))
        return moving

    def _follow_up(self, now: datetime, ended: Sequence[ClaimedJob], moved: Sequence[_Moved]) -> None:
        again = [
            Hint(job.merchant_id, job.id, record.next_run_at, job.priority)
            for _, job, _, record in moved
            if record.next_run_at is not None
        ]
        if again:
            self._announcer.announce(now, again)
        limited = self._book.limited_merchants()
        if limited:
            self._release([(job.merchant_id.hex, job.id.hex) for job in ended if job.merchant_id in limited])
        for _, job, result, ended_as in moved:
            gone = result.verdict is Verdict.GONE and ended_as.outcome is AttemptOutcome.FAILED
            if gone and job.template_id is not None:
                self._pause(now, job.merchant_id, job.template_id)

    def _release(self, places: Sequence[tuple[str, str]]) -> None:
        if not places:
            return
        try:
            self._queue.release(places)
        except QueueUnavailableError as error:
            logger.warning("places under a limit free themselves later", extra={"cause": str(error)})

    def _pause(self, now: datetime, merchant_id: UUID, template_id: UUID) -> None:
        try:
            with self._database.transaction() as connection:
                templates.pause(connection, merchant_id, template_id, reason="its target answered 410 Gone", now=now)
        except DatabaseUnavailableError as error:
            logger.warning("a template was not paused; its next run will try again", extra={"cause": str(error)})
