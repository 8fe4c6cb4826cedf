"""Puts an executor's parts together for one invocation, and takes them apart again."""

from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self
from uuid import UUID

from executor.executor import Executor, RefillMarks
from executor.heartbeat import Heartbeat
from executor.journal import Journal
from executor.kept import Kept
from executor.merchant_book import MerchantBook
from executor.recorder import Recorder
from executor.roster import Roster
from scheduler_core.delivery.courier import Courier
from scheduler_core.domain.jobs import AttemptRecord, RunningJob
from scheduler_core.invocation.lambda_invoker import InvocationError, LambdaInvoker
from scheduler_core.observability.log import logger
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.security.installation_key import installation_key
from scheduler_core.services.announcing import Announcer
from scheduler_core.services.refilling import Refiller

ABORT_SECONDS = 1.0
RECORD_SECONDS = 3.0
UNRECORDED_BATCHES = 4
"""How many batches may wait to be recorded before no more is claimed."""
_PARTS = ("main", "refiller", "recorder", "heartbeat")
"""Those with a thread, and so a connection, of their own."""


class Crew:
    """A context: threads run inside it, and none is left after it."""

    def __init__(
        self,
        kept: Kept,
        queue: ReadySet,
        *,
        executor_id: UUID,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        settings = kept.settings
        lease = timedelta(seconds=settings.lease_seconds)
        self._kept = kept
        self._databases = {part: kept.database(part) for part in _PARTS}
        self._queue = queue
        self._invoker = LambdaInvoker(settings)
        self.roster = Roster(
            settings.executor_concurrency,
            settings.executor_batch * UNRECORDED_BATCHES,
            ahead=settings.executor_batch,
        )
        main, refiller, recorder, heartbeat = (self._databases[part] for part in _PARTS)
        book = MerchantBook(main, installation_key(settings), kept.merchants)
        announcer = Announcer(
            self._queue,
            LambdaInvoker(settings),
            executor_function=settings.executor_function,
            horizon_seconds=settings.horizon_seconds,
        )
        self.recorder = Recorder(
            recorder,
            self._queue,
            announcer,
            self.roster,
            book,
            Journal(single_jobs=settings.job_events),
            executor_id=executor_id,
            batch=settings.executor_batch,
            clock=clock,
            jitter=jitter,
        )
        self.courier = Courier(
            allowed_networks=settings.allowed_target_networks,
            on_results=self.recorder.take,
            max_in_flight=settings.executor_concurrency,
            clock=clock,
        )
        self._heartbeat = Heartbeat(
            heartbeat,
            self._queue,
            self.roster,
            book,
            LambdaInvoker(settings),
            self.courier.abort,
            every=settings.heartbeat_seconds,
            lease=lease,
            watcher_function=settings.watcher_function,
            clock=clock,
        )
        self.executor = Executor(
            main,
            self._queue,
            Refiller(
                refiller,
                self._queue,
                horizon=timedelta(seconds=settings.horizon_seconds),
                room=settings.ready_set_max,
                holder=f"executor:{executor_id}",
            ),
            self.roster,
            book,
            self.courier,
            self.recorder.take,
            self._heartbeat.nudge,
            executor_id=executor_id,
            batch=settings.executor_batch,
            lead=timedelta(milliseconds=settings.lead_milliseconds),
            lease=lease,
            idle_seconds=settings.idle_seconds,
            jobs_per_executor=settings.jobs_per_executor,
            refill_marks=RefillMarks(settings.ready_set_max),
            clock=clock,
        )

    def __enter__(self) -> Self:
        self.recorder.start()
        self.courier.start()
        self._heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        has_ended = {"heartbeat": self._heartbeat.close()}
        self.courier.close(0)
        has_ended["recorder"] = self.recorder.close(RECORD_SECONDS)
        has_ended["main"], has_ended["refiller"] = True, self.executor.finish()
        for part, database in self._databases.items():
            if kind is None and has_ended[part]:
                self._kept.give_back(part, database)
            else:
                database.close()

    def drain(self, may_wait: Callable[[], bool]) -> None:
        """Wait for what is being delivered, as long as `may_wait` allows."""
        while len(self.roster) and may_wait():
            self.roster.wait_until_empty(0.1)

    def release(self, released: Callable[[datetime, RunningJob], AttemptRecord]) -> int:
        """Cut off what is left and give it back; answers how many jobs that were."""
        keys = {(job.id, job.attempt) for job in self.courier.abort_all()}
        left = [job for job in self.roster.held() if (job.id, job.attempt) in keys]
        self.executor.give_back(left, released)
        return len(left)

    def hand_over(self) -> None:
        """Ask for a successor."""
        reason = "unannounced" if self.executor.distrusts else "announced"
        try:
            self._invoker.invoke_async(self._kept.settings.executor_function, {"reason": reason})
        except InvocationError as error:
            logger.warning("no successor could be invoked; the next tick brings one", extra={"cause": str(error)})
