"""Gives back what a lost executor held, and ends what has waited past its expiry."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from scheduler_core.domain.jobs import Hint
from scheduler_core.domain.outcomes import rescued
from scheduler_core.observability.log import log_event
from scheduler_core.services.announcing import Announcer
from scheduler_core.storage import claims
from scheduler_core.storage.database import Database


class JobRescuer:
    """One page at a time; any number of rescuers may run at once."""

    def __init__(
        self,
        database: Database,
        announcer: Announcer,
        *,
        watcher_id: UUID,
        page_size: int,
        max_pages: int,
        jitter: Callable[[], float],
    ) -> None:
        self._database = database
        self._announcer = announcer
        self._watcher_id = watcher_id
        self._page_size = page_size
        self._max_pages = max_pages
        self._jitter = jitter

    def rescue(self, now: datetime) -> int:
        """Jobs whose lease ran out are tried again or failed; answers how many."""
        total = 0
        for _ in range(self._max_pages):
            rescued_jobs, has_more = self._rescue_page(now)
            total += rescued_jobs
            if not has_more:
                break
        return total

    def expire(self, now: datetime) -> int:
        """Waiting jobs past their `expires_at` end; answers how many."""
        total = 0
        for _ in range(self._max_pages):
            with self._database.transaction() as connection:
                expired = claims.expire_waiting_across_merchants(connection, now=now, most=self._page_size)
            total += len(expired)
            if len(expired) < self._page_size:
                break
        return total

    def _rescue_page(self, now: datetime) -> tuple[int, bool]:
        """Up to a page of leases, and of jobs held under them; answers (jobs rescued, whether there may be more)."""
        with self._database.transaction() as connection:
            leases = claims.lock_expired_leases_across_merchants(connection, now=now, most=self._page_size)
            if not leases:
                return 0, False
            lost = claims.lock_lost_across_merchants(connection, leases, most=self._page_size)
            records = [rescued(now, job, self._jitter()) for job in lost]
            claims.record(connection, records, now=now, executor_id=self._watcher_id)
            claims.end_rescued_leases_across_merchants(connection, leases)
        priorities = {job.id: job.priority for job in lost}
        self._announcer.announce(
            now,
            [Hint(r.merchant_id, r.job_id, r.next_run_at, priorities[r.job_id]) for r in records if r.next_run_at],
        )
        for record in records[:20]:
            log_event(
                "job.rescued",
                "its executor was lost",
                job_id=str(record.job_id),
                attempt=record.attempt,
                outcome=record.outcome,
                next_run_at=record.next_run_at,
            )
        return len(records), self._page_size in {len(leases), len(lost)}
