"""The thread that writes the ends of attempts down, in bulk, and sees to what follows from them."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from queue import Empty, SimpleQueue
from uuid import UUID

from psycopg.errors import DeadlockDetected

from executor.journal import Journal
from executor.merchant_book import MerchantBook
from executor.roster import Roster
from scheduler_core.clock import monotonic
from scheduler_core.domain.errors import DatabaseUnavailableError, QueueUnavailableError
from scheduler_core.domain.jobs import AttemptOutcome, AttemptRecord, ClaimedJob, Hint
from scheduler_core.domain.outcomes import DeliveryResult, Verdict, decide, record
from scheduler_core.observability.log import logger
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services.announcing import Announcer
from scheduler_core.storage import claims, templates
from scheduler_core.storage.database import Database

Results = list[tuple[ClaimedJob, DeliveryResult]]
RETRY_SECONDS = 0.2
BUSY_RESULTS = 16
"""Whoever writes at least so many at once is busy, and waits for more before the next statement: a small one costs
PostgreSQL nearly as much as a large one."""
GATHER_SECONDS = 0.02
"""How long: some hundred results of a busy courier, which hands them over a few dozen at a time."""


class Recorder:
    """Takes results from the courier's thread, decides, records; owns its connection."""

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
        self._incoming: SimpleQueue[Results | None] = SimpleQueue()
        self._gives_up_at = float("inf")
        self._busy = False
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self, results: Results) -> None:
        """Results to be recorded; returns at once. Called from any thread."""
        self._roster.delivered([job for job, _ in results])
        self._incoming.put(results)

    def close(self, seconds: float) -> None:
        """Record what is left, for at most `seconds`; what is not recorded then is rescued when its lease runs out."""
        self._gives_up_at = monotonic() + seconds
        self._incoming.put(None)
        self._thread.join(seconds + 1.0)
        self._database.close()

    def _work(self) -> None:
        while (results := self._next()) is not None:
            try:
                self._handle(results)
            except Exception:  # noqa: BLE001 - this thread must outlive any batch; its jobs are rescued by their leases
                logger.exception("a batch of results could not be recorded")
                self._roster.forsake([job for job, _ in results])

    def _next(self) -> Results | None:
        """Whatever has come in, up to a batch; None: the end."""
        results = self._incoming.get()
        if results is None:
            return None
        gathered, until = list(results), monotonic() + (GATHER_SECONDS if self._busy else 0.0)
        while len(gathered) < self._batch:
            try:
                more = self._incoming.get(timeout=max(0.0, until - monotonic()))
            except Empty:
                break
            if more is None:
                self._incoming.put(None)
                break
            gathered += more
        self._busy = len(gathered) >= BUSY_RESULTS
        return gathered

    def _handle(self, results: Results) -> None:
        now = self._clock()
        records = [record(job, decide(now, job, result, self._jitter()), result) for job, result in results]
        jobs = [job for job, _ in results]
        spent = self._roster.spent_after(jobs)
        written = self._write(now, records, spent)
        if written is None:
            self._roster.forsake(jobs)
            return
        self._roster.remove(jobs)
        self._roster.ended(spent)
        self._follow_up(now, results, written)
        self._journal.ended(results, records)

    def _write(
        self, now: datetime, records: Sequence[AttemptRecord], spent: Sequence[int]
    ) -> Sequence[AttemptRecord] | None:
        """Those written, and the leases `spent` are ended; None: given up, and what runs is left to its leases."""
        while True:
            try:
                with self._database.statement() as connection:
                    return claims.record(connection, records, now=now, executor_id=self._executor_id, leases=spent)
            except (DatabaseUnavailableError, DeadlockDetected) as error:
                if monotonic() >= self._gives_up_at:
                    logger.error("results are given up; their leases will run out", extra={"count": len(records)})
                    return None
                logger.warning("results wait for the database", extra={"cause": str(error), "count": len(records)})
                threading.Event().wait(RETRY_SECONDS)

    def _follow_up(self, now: datetime, results: Results, written: Sequence[AttemptRecord]) -> None:
        again = [record for record in written if record.next_run_at is not None]
        if again:
            self._announce(now, results, again)
        limited = self._book.limited_merchants()
        if limited:
            self._release([(job.merchant_id.hex, job.id.hex) for job, _ in results if job.merchant_id in limited])
        gone = [job for job, result in results if result.verdict is Verdict.GONE]
        if gone:
            failed = {record.job_id for record in written if record.outcome is AttemptOutcome.FAILED}
            for job in gone:
                if job.template_id is not None and job.id in failed:
                    self._pause(now, job, job.template_id)

    def _announce(self, now: datetime, results: Results, again: Sequence[AttemptRecord]) -> None:
        priorities = {job.id: job.priority for job, _ in results}
        hints = [Hint(r.merchant_id, r.job_id, r.next_run_at, priorities[r.job_id]) for r in again if r.next_run_at]
        self._announcer.announce(now, hints)

    def _release(self, places: Sequence[tuple[str, str]]) -> None:
        if not places:
            return
        try:
            self._queue.release(places)
        except QueueUnavailableError as error:
            logger.warning("places under a limit free themselves later", extra={"cause": str(error)})

    def _pause(self, now: datetime, job: ClaimedJob, template_id: UUID) -> None:
        try:
            with self._database.transaction() as connection:
                templates.pause(
                    connection, job.merchant_id, template_id, reason="its target answered 410 Gone", now=now
                )
        except DatabaseUnavailableError as error:
            logger.warning("a template was not paused; its next run will try again", extra={"cause": str(error)})
