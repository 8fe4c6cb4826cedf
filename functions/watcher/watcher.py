"""The watcher: one pass of upkeep a minute, and a guard over running jobs for as long as there are any.

The guard is what makes a crash known within lease + watch seconds although the schedule fires once a minute. It ends
when nothing runs and nothing is due, so an idle installation pays for one short pass a minute.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from scheduler_core.domain.errors import DatabaseUnavailableError, QueueUnavailableError
from scheduler_core.observability.log import logger
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services.announcing import Announcer
from scheduler_core.storage import claims, upkeep
from scheduler_core.storage.database import Database
from watcher.alerts import Alerts
from watcher.job_rescuer import JobRescuer

OVERDUE = timedelta(seconds=2)
"""How late a waiting job must be before the guard asks whether anybody is awake for it."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run of the watcher did and saw."""

    passes: int = 0
    rescued: int = 0
    expired: int = 0
    executors_invoked: int = 0
    partitions_made: int = 0
    partitions_dropped: int = 0
    rows_deleted: int = 0
    alerts: int = 0
    oldest_due_age_seconds: float | None = None
    """None: it could not be seen."""
    completed_last_minute: int | None = None
    failed_last_minute: int | None = None
    """Attempts of the last whole minute."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Watcher:
    """Wired by the handler; `clock`, `sleep` and `remaining_seconds` come from outside."""

    def __init__(
        self,
        database: Database,
        queue: ReadySet,
        announcer: Announcer,
        rescuer: JobRescuer,
        alerts: Alerts,
        *,
        watcher_id: str,
        watch: timedelta,
        retention: timedelta,
        page_size: int,
        max_pages: int,
    ) -> None:
        self._database = database
        self._queue = queue
        self._announcer = announcer
        self._rescuer = rescuer
        self._alerts = alerts
        self._watcher_id = watcher_id
        self._watch = watch
        self._retention = retention
        self._page_size = page_size
        self._max_pages = max_pages

    def run(
        self,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        remaining_seconds: Callable[[], float],
        report: Report,
        *,
        least_passes: int = 1,
    ) -> None:
        """Upkeep once, then guard until nothing runs or the invocation's time is nearly used.

        What was done and seen is in `report`, even if this raises. `least_passes` is 2 for whoever is about to claim
        something that this run could not see yet.
        """
        self._guard_once(clock(), report)
        self._keep_up(clock(), report)
        while (
            self._is_needed(clock()) or report.passes < least_passes
        ) and remaining_seconds() > self._watch.total_seconds() * 2:
            sleep(self._watch.total_seconds())
            try:
                self._guard_once(clock(), report)
            except DatabaseUnavailableError as error:
                logger.warning("the database is away; watching on", extra={"cause": str(error)})
        self._leave()

    def _guard_once(self, now: datetime, report: Report) -> None:
        report.passes += 1
        report.rescued += self._rescuer.rescue(now)
        report.expired += self._rescuer.expire(now)
        with self._database.transaction() as connection:
            oldest = claims.oldest_due_across_merchants(connection)
        age = max(timedelta(), now - oldest) if oldest else timedelta()
        report.oldest_due_age_seconds = age.total_seconds()
        if age > OVERDUE and not self._somebody_is_awake(now):
            self._announcer.wake_executor("unannounced")
            report.executors_invoked += 1
        with _aside("alerts wait for the next pass"):
            report.alerts += self._alerts.look(now, oldest)

    def _keep_up(self, now: datetime, report: Report) -> None:
        with _aside("measuring waits for the next run"), self._database.transaction() as connection:
            rates = upkeep.throughput_across_merchants(connection, now=now)
            report.completed_last_minute, report.failed_last_minute = rates
        with _aside("upkeep waits for the next run"):  # a partition's lock was not to be had, say
            self._keep_tables(now, report)

    def _keep_tables(self, now: datetime, report: Report) -> None:
        with self._database.transaction() as connection:
            made, dropped = upkeep.keep_partitions(connection, now=now, retention=self._retention)
        report.partitions_made, report.partitions_dropped = made, dropped
        for _ in range(self._max_pages):
            with self._database.transaction() as connection:
                deleted = upkeep.delete_spent(connection, now=now, most=self._page_size)
            report.rows_deleted += deleted
            if deleted < self._page_size:
                break

    def _is_needed(self, now: datetime) -> bool:
        """Whether anything runs or is overdue, and no other watcher guards it already."""
        try:
            with self._database.transaction() as connection:
                if claims.next_lease_expiry_across_merchants(connection) is None:
                    oldest = claims.oldest_due_across_merchants(connection)
                    if oldest is None or oldest > now:
                        return False
        except DatabaseUnavailableError:
            return True
        try:
            return self._queue.take_duty("watch", self._watcher_id, seconds=self._watch.total_seconds() * 2)
        except QueueUnavailableError:
            return True

    def _somebody_is_awake(self, now: datetime) -> bool:
        try:
            return self._queue.depth(now).executors > 0
        except QueueUnavailableError:
            return False

    def _leave(self) -> None:
        try:
            self._queue.leave_duty("watch", self._watcher_id)
        except QueueUnavailableError:
            logger.warning("the ready queue is away; the watch ends by itself")


@contextmanager
def _aside(said: str) -> Iterator[None]:
    """What is done beside the guard: if it fails, running jobs come first all the same."""
    try:
        yield
    except DatabaseUnavailableError as error:
        logger.warning(said, extra={"cause": str(error)})
    except Exception:  # noqa: BLE001 - whatever it is, it must not cost anybody their rescue
        logger.exception(said)
