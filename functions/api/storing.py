"""Stores new jobs: once for each idempotency key, in one transaction, and announces them after the commit."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aws_lambda_powertools.event_handler import Response
from pydantic import BaseModel

from api import wiring
from api.callers import Caller
from api.rendering import ok
from scheduler_core.domain.jobs import Hint, NewJob
from scheduler_core.observability.log import log_event
from scheduler_core.storage import idempotency, jobs
from scheduler_core.storage.idempotency import Answer

MOST_LOGGED: Final = 20
INSERTED_AT_ONCE: Final = 250
"""How many jobs one statement stores: PostgreSQL is at it while the next one is put together."""


@dataclass(frozen=True, slots=True)
class Once:
    """An idempotency key and what it stands for."""

    key: str
    request_sha256: bytes


def once(key: str | None, route: str, request: Any) -> Once | None:
    """The key with a fingerprint of the parsed request, which does not depend on member order or white space."""
    if key is None:
        return None
    said = request.model_dump(mode="json") if isinstance(request, BaseModel) else request
    canonical = json.dumps([route, said], sort_keys=True, separators=(",", ":"))
    return Once(key, hashlib.sha256(canonical.encode()).digest())


def store(caller: Caller, new: Sequence[NewJob], answer: Answer, only: Once | None, now: datetime) -> Response[str]:
    """Store `new` and answer `answer`; or answer what the first request with the same key was answered.

    Raises IdempotencyMismatchError, DatabaseUnavailableError; nothing is stored then.
    """
    with wiring.database().at_once_of_merchant(caller.merchant_id) as connection:
        if only is not None:
            first = idempotency.take(
                connection, caller.merchant_id, key=only.key, request_sha256=only.request_sha256, now=now
            )
            if first is not None:
                return _answered(first, Idempotent_Replayed="true")
        for start in range(0, len(new), INSERTED_AT_ONCE):
            jobs.insert(connection, caller.merchant_id, new[start : start + INSERTED_AT_ONCE], now)
        if only is not None:
            idempotency.keep(connection, caller.merchant_id, key=only.key, answer=answer)
        hints = [Hint(job.merchant_id, job.id, max(job.scheduled_at, now), job.priority) for job in new]
    if new:
        announce(new, hints, now)
    return _answered(answer)


def announce(new: Sequence[NewJob], hints: Sequence[Hint], now: datetime) -> None:
    """Tell the ready queue, and the log where single jobs are logged, of jobs that are committed."""
    wiring.announcer().announce(now, hints)
    if wiring.settings().job_events:
        for job in new[:MOST_LOGGED]:
            log_event(
                "job.created",
                "a job was created",
                job_id=str(job.id),
                merchant_id=str(job.merchant_id),
                scheduled_at=job.scheduled_at.isoformat(),
                reference_id=job.reference_id,
            )


def _answered(answer: Answer, **headers: str) -> Response[str]:
    if answer.location is not None:
        headers["Location"] = answer.location
    return ok(answer.body, answer.status, **headers)
