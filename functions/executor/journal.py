"""What the executor says of its work: a line for a big batch, and single jobs where that is asked for."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from scheduler_core.delivery.parcels import Delivery
from scheduler_core.domain.jobs import AttemptOutcome, AttemptRecord, ClaimedJob
from scheduler_core.domain.outcomes import DeliveryResult
from scheduler_core.observability.log import log_event

MOST_SINGLE = 20
"""The most lines for one batch (I8)."""


class Journal:
    """Logs ends of attempts; `single_jobs` adds lines for up to `MOST_SINGLE` jobs of each batch."""

    def __init__(self, *, single_jobs: bool) -> None:
        self._single_jobs = single_jobs

    def ended(self, done: Sequence[Delivery], others: Sequence[tuple[ClaimedJob, AttemptRecord]]) -> None:
        """Attempts that completed their jobs, and `others`, have ended and are recorded."""
        if self._single_jobs:
            for job, result in done[:MOST_SINGLE]:
                self._one(job, result, AttemptOutcome.COMPLETED)
            for job, record in others[: MOST_SINGLE - len(done[:MOST_SINGLE])]:
                self._one(job, record, record.outcome, record.next_run_at)
        if not self._single_jobs or len(done) + len(others) > MOST_SINGLE:
            self._summary(done, others)

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

    def _summary(self, done: Sequence[Delivery], others: Sequence[tuple[ClaimedJob, AttemptRecord]]) -> None:
        outcomes = Counter(record.outcome for _, record in others)
        late = [result.started_at - job.due_at for job, result in done]
        late += [record.started_at - job.due_at for job, record in others]
        if not late:
            return
        late.sort()
        log_event(
            "deliveries",
            "a batch of attempts has ended",
            completed=len(done) + outcomes[AttemptOutcome.COMPLETED],
            retried=outcomes[AttemptOutcome.RETRIED],
            failed=outcomes[AttemptOutcome.FAILED],
            late_p50_ms=round(_milliseconds(late[len(late) // 2]), 2),
            late_max_ms=round(_milliseconds(late[-1]), 2),
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
