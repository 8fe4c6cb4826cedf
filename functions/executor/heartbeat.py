"""The thread that keeps the leases of held jobs alive, and cuts off what is no longer held."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from executor.merchant_book import MerchantBook
from executor.roster import Roster
from scheduler_core.clock import monotonic
from scheduler_core.domain.errors import DatabaseUnavailableError, QueueUnavailableError
from scheduler_core.domain.jobs import AttemptKey, ClaimedJob
from scheduler_core.invocation.lambda_invoker import InvocationError
from scheduler_core.observability.log import log_event, logger
from scheduler_core.observability.outage import Outage
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services.announcing import Invoker
from scheduler_core.storage import claims
from scheduler_core.storage.database import Database

PAGE = 1_000
CANCELLATION_SECONDS = 0.25
OVERLAP = timedelta(seconds=1)
"""How far back cancellations are looked for again: the API's clock is not this one."""


class Heartbeat:
    """Beats every `every` seconds while jobs are held; looks for cancellations four times a second."""

    def __init__(
        self,
        database: Database,
        queue: ReadySet,
        roster: Roster,
        book: MerchantBook,
        invoker: Invoker,
        abort: Callable[[Sequence[AttemptKey]], None],
        *,
        every: float,
        lease: timedelta,
        watcher_function: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._queue = queue
        self._roster = roster
        self._book = book
        self._invoker = invoker
        self._abort = abort
        self._every = every
        self._lease = lease
        self._watcher_function = watcher_function
        self._clock = clock
        self._ended = False
        self._nudged = threading.Event()
        self._queue_outage = Outage("the ready queue", "leases are kept without it")
        self._database_outage = Outage("the database", "leases are not prolonged")
        self._thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """Something is about to be claimed: if nothing was held until now, see at once that a watcher is on guard."""
        if not len(self._roster):
            self._nudged.set()

    def close(self) -> bool:
        """Answers whether the thread has ended."""
        self._ended = True
        self._nudged.set()
        self._thread.join(5.0)
        return not self._thread.is_alive()

    def _work(self) -> None:
        looked_at, next_beat = self._clock(), monotonic() + self._every
        while True:
            nudged = self._nudged.wait(CANCELLATION_SECONDS)
            if self._ended:
                return
            self._nudged.clear()
            now = self._clock()
            # Each by itself: with the ready queue away the leases must be kept all the same.
            if nudged:
                self._step(self._see_that_somebody_watches)
            if monotonic() >= next_beat:
                next_beat = monotonic() + self._every
                self._step(partial(self._beat, now))
            if len(self._roster):
                self._step(partial(self._cut_off_cancelled, looked_at - OVERLAP))
            looked_at = now

    def _step(self, step: Callable[[], None]) -> None:
        try:
            step()
        except QueueUnavailableError as error:
            self._queue_outage.goes_on(error)
        except DatabaseUnavailableError as error:
            self._database_outage.goes_on(error)
        except Exception:  # noqa: BLE001 - the leases must be kept whatever one step runs into
            logger.exception("a heartbeat failed")

    def _beat(self, now: datetime) -> None:
        spent = self._roster.spent_after(())
        if spent:
            with self._database.statement() as connection:
                claims.end_leases(connection, spent)
            self._roster.ended(spent)
        held = self._roster.held()
        if not held:
            return
        for start in range(0, len(held), PAGE):
            self._hold(now, held[start : start + PAGE], "lost")
        merchants = self._book.limited_merchants()
        limited = [(job.merchant_id.hex, job.id.hex) for job in held if job.merchant_id in merchants]
        if limited:
            self._queue.hold(now, limited, for_seconds=self._lease.total_seconds())
        self._see_that_somebody_watches()

    def _cut_off_cancelled(self, since: datetime) -> None:
        """A cancellation is a hint too: the job may have been redriven since, and be held again rightly."""
        cancelled = set(self._queue.cancelled_since(since))
        self._queue_outage.is_over()
        if cancelled:
            self._hold(self._clock(), [job for job in self._roster.held() if job.id in cancelled], "cancelled")

    def _hold(self, now: datetime, jobs: list[ClaimedJob], otherwise: str) -> None:
        """Prolong the leases of `jobs`; whatever is not this executor's any more is cut off."""
        with self._database.transaction() as connection:
            still = claims.extend_leases(connection, jobs, now=now, lease=self._lease)
        self._database_outage.is_over()
        self._drop([job for job in jobs if (job.id, job.attempt) not in still], otherwise)

    def _drop(self, jobs: list[ClaimedJob], outcome: str) -> None:
        self._abort([(job.id, job.attempt) for job in jobs])
        for job in self._roster.remove(jobs):
            log_event(
                "job.ended",
                "a delivery was cut off",
                job_id=str(job.id),
                merchant_id=str(job.merchant_id),
                attempt=job.attempt,
                outcome=outcome,
            )

    def _see_that_somebody_watches(self) -> None:
        if self._queue.on_duty("watch"):
            return
        try:
            self._invoker.invoke_async(self._watcher_function, {"reason": "unwatched"})
        except InvocationError as error:
            logger.warning("no watcher could be invoked; the next tick brings one", extra={"cause": str(error)})
