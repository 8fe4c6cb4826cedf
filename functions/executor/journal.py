"""What the executor says of its work: a line for a big batch, and single jobs where that is asked for."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from scheduler_core.domain.jobs import AttemptOutcome, AttemptRecord, ClaimedJob
from scheduler_core.domain.outcomes import DeliveryResult
from scheduler_core.observability.log import log_event

MOST_SINGLE = 20
"""The most lines for one batch (I8)."""


class Journal:
    """Logs ends of attempts; `single_jobs` adds lines for up to `MOST_SINGLE` jobs of each batch."""

    def __init__(self, *, single_jobs: bool) -> None:
        self._single_jobs = single_jobs

    def ended(self, results: Sequence[tuple[ClaimedJob, DeliveryResult]], records: Sequence[AttemptRecord]) -> None:
        """These attempts have ended and are recorded."""
        if self._single_jobs:
            for (job, _), record in zip(results[:MOST_SINGLE], records, strict=False):
                self._one(job, record)
        if not self._single_jobs or len(records) > MOST_SINGLE:
            self._summary(records)

    def _one(self, job: ClaimedJob, record: AttemptRecord) -> None:
        log_event(
            "job.ended",
            "an attempt has ended",
            job_id=str(job.id),
            merchant_id=str(job.merchant_id),
            attempt=job.attempt,
            outcome=record.outcome,
            late_ms=round(_milliseconds(record.started_at - record.due_at), 2),
            took_ms=round(_milliseconds(record.finished_at - record.started_at), 2),
            http_status=record.http_status,
            error=record.error,
            next_run_at=record.next_run_at,
            url=_origin(job.target),
        )

    def _summary(self, records: Sequence[AttemptRecord]) -> None:
        outcomes = Counter([record.outcome for record in records])
        late = sorted([record.started_at - record.due_at for record in records])
        log_event(
            "deliveries",
            "a batch of attempts has ended",
            completed=outcomes[AttemptOutcome.COMPLETED],
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
