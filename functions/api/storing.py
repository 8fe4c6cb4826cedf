"""Stores new jobs: once for each idempotency key, in one transaction, and announces them after the commit."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from aws_lambda_powertools.event_handler import Response
from psycopg import Connection
from pydantic import BaseModel

from api import wiring
from api.batching import Batch
from api.callers import Caller
from api.rendering import ok
from scheduler_core.domain.ids import text_of_hex
from scheduler_core.domain.jobs import Hint, NewJob, NewJobs
from scheduler_core.observability.log import log_event
from scheduler_core.storage import idempotency, jobs
from scheduler_core.storage.idempotency import Answer

if TYPE_CHECKING:
    from scheduler_core.queueing.announcement import Announcement

MOST_LOGGED: Final = 20


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


def store(caller: Caller, new: NewJob, answer: Answer, only: Once | None, now: datetime) -> Response[str]:
    """Store one job and answer `answer`; or answer what the first request with the same key was answered.

    Raises IdempotencyMismatchError, DatabaseUnavailableError; nothing is stored then.
    """
    announcer = wiring.announcer()
    hint = Hint(new.merchant_id, new.id, max(new.scheduled_at, now), new.priority)
    if only is None:
        with wiring.database().statement() as connection, announcer.beside(now, hint):
            jobs.insert_alone(connection, new, now)
    else:
        with wiring.database().at_once_of_merchant(caller.merchant_id) as connection:
            first = _take(connection, caller, only, now)
            if first is not None:
                return _replayed(connection, caller, first, now)
            jobs.insert(connection, caller.merchant_id, NewJobs.of([new]), now)
            idempotency.keep(connection, caller.merchant_id, key=only.key, answer=answer)
        announcer.announce(now, [hint])
    _log_created(caller, [NewJobs.of([new])])
    return _answered(answer)


def store_all(caller: Caller, batch: Batch, only: Once | None, now: datetime) -> Response[str]:
    """Store the good jobs of `batch` and say what became of each; or answer what the first request with the key was.

    Each part is sent before the next is judged, and PostgreSQL works on it meanwhile.
    Raises IdempotencyMismatchError, DatabaseUnavailableError; nothing is stored then.
    """
    parts: list[NewJobs] = []
    announcements: list[Announcement] = []

    def prepare() -> None:
        _ = batch.answer
        hints = [
            Hint(caller.merchant_id, UUID(int=int(job_id, 16)), max(scheduled_at, now), priority)
            for part in parts
            for job_id, scheduled_at, priority in zip(part.id, part.scheduled_at, part.priority, strict=True)
        ]
        if hints:
            announcements.append(wiring.announcer().prepare(now, hints))

    with wiring.database().at_once_of_merchant(caller.merchant_id, meanwhile=prepare) as connection:
        first = None if only is None else _take(connection, caller, only, now)
        if first is not None:
            return _replayed(connection, caller, first, now)
        for part in batch.parts():
            jobs.insert(connection, caller.merchant_id, part, now)
            parts.append(part)
        if only is not None:
            idempotency.keep(connection, caller.merchant_id, key=only.key, answer=batch.answer)
    for announcement in announcements:
        wiring.announcer().send(announcement)
    _log_created(caller, parts)
    return _answered(batch.answer)


def _take(connection: Connection[Any], caller: Caller, only: Once, now: datetime) -> Answer | None:
    return idempotency.take(connection, caller.merchant_id, key=only.key, request_sha256=only.request_sha256, now=now)


def _replayed(connection: Connection[Any], caller: Caller, first: Answer, now: datetime) -> Response[str]:
    """The first answer again; and the jobs are announced again, for who stored them may have ended before that."""
    said = json.loads(first.body)
    ids = [UUID(item["id"]) for item in said.get("items", [said]) if "id" in item]
    wiring.announcer().announce(now, jobs.waiting(connection, caller.merchant_id, ids))
    return _answered(first, Idempotent_Replayed="true")


def _log_created(caller: Caller, parts: Sequence[NewJobs]) -> None:
    if not wiring.settings().job_events:
        return
    new = (job for part in parts for job in zip(part.id, part.scheduled_at, part.reference_id, strict=True))
    for job_id, scheduled_at, reference_id in islice(new, MOST_LOGGED):
        log_event(
            "job.created",
            "a job was created",
            job_id=text_of_hex(job_id),
            merchant_id=str(caller.merchant_id),
            scheduled_at=scheduled_at.isoformat(),
            reference_id=reference_id,
        )


def _answered(answer: Answer, **headers: str) -> Response[str]:
    if answer.location is not None:
        headers["Location"] = answer.location
    return ok(answer.body, answer.status, **headers)
