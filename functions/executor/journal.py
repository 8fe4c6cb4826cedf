"""What the executor says of its work: a line a second for all of it, and single jobs where that is asked for."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from scheduler_core.clock import monotonic
from scheduler_core.delivery.parcels import Delivery
from scheduler_core.domain.jobs import AttemptOutcome, AttemptRecord, ClaimedJob
from scheduler_core.domain.outcomes import DeliveryResult
from scheduler_core.observability.log import log_event

MOST_SINGLE = 20
"""The most lines for one batch (I8)."""
APART_SECONDS = 1.0
"""How far apart two lines about many jobs are, at least."""
MOST_GATHERED = 100_000
"""Of so many jobs a line is due however soon it comes."""


class Journal:
    """Logs ends of attempts; `single_jobs` adds lines for up to `MOST_SINGLE` jobs of each batch.

    For one thread, which asks `seconds_left` how soon `tell` has something to say, and calls it at its end.
    """

    def __init__(self, *, single_jobs: bool, clock: Callable[[], float] = monotonic) -> None:
        self._single_jobs = single_jobs
        self._clock = clock
        self._told_at = -APART_SECONDS
        self._outcomes: Counter[AttemptOutcome] = Counter()
        self._late: list[timedelta] = []

    def ended(self, done: Sequence[Delivery], others: Sequence[tuple[ClaimedJob, AttemptRecord]]) -> None:
        """Attempts that completed their jobs, and `others`, have ended and are recorded."""
        if self._single_jobs:
            for job, result in done[:MOST_SINGLE]:
                self._one(job, result, AttemptOutcome.COMPLETED)
            for job, record in others[: MOST_SINGLE - len(done[:MOST_SINGLE])]:
                self._one(job, record, record.outcome, record.next_run_at)
        if not self._single_jobs or len(done) + len(others) > MOST_SINGLE:
            self._outcomes[AttemptOutcome.COMPLETED] += len(done)
            self._outcomes.update(record.outcome for _, record in others)
            self._late += [result.started_at - job.due_at for job, result in done]
            self._late += [record.started_at - job.due_at for job, record in others]
            if self.seconds_left() == 0:
                self.tell()

    def seconds_left(self) -> float | None:
        """Until a line is due about what has been gathered; None: nothing has."""
        if not self._late:
            return None
        return max(0.0, self._told_at + APART_SECONDS - self._clock()) if len(self._late) < MOST_GATHERED else 0.0

    def tell(self) -> None:
        """Log what has been gathered, if anything has."""
        late, outcomes = sorted(self._late), self._outcomes
        if not late:
            return
        self._told_at, self._outcomes, self._late = self._clock(), Counter(), []
        log_event(
            "deliveries",
            "attempts have ended",
            completed=outcomes[AttemptOutcome.COMPLETED],
            retried=outcomes[AttemptOutcome.RETRIED],
            failed=outcomes[AttemptOutcome.FAILED],
            late_p50_ms=round(_milliseconds(late[len(late) // 2]), 2),
            late_max_ms=round(_milliseconds(late[-1]), 2),
        )

    def _one(
        self,
        job: ClaimedJob,
        ended: DeliveryResult | AttemptRecord,
        outcome: AttemptOutcome,
        next_run_at: datetime | None = None,
    ) -> None:
        log_event(
            "job.ended",
            "an attempt has ended",
            job_id=str(job.id),
            merchant_id=str(job.merchant_id),
            attempt=job.attempt,
            outcome=outcome,
            late_ms=round(_milliseconds(ended.started_at - job.due_at), 2),
            took_ms=round(_milliseconds(ended.finished_at - ended.started_at), 2),
            http_status=ended.http_status,
            error=ended.error,
            next_run_at=next_run_at,
            url=_origin(job.target),
        )


def _milliseconds(span: timedelta) -> float:
    return span.total_seconds() * 1_000


def _origin(target: str) -> str | None:
    """Scheme, host and port of an HTTP target: what may be logged of it (I9)."""
    start = target.find('"http')
    if start < 0:
        return None
    parts = urlsplit(target[start + 1 : target.find('"', start + 1)])
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else None
