"""From a body to a job that can be stored: what pydantic cannot say about it, and whether its target is allowed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic_core import to_json

from api import wiring
from api.faults import BodyTooLargeError, Fault, InvalidRequestError
from api.schemas.jobs import JobCreate, JobFields, Retry
from api.schemas.targets import AwsTarget, HttpTarget, target_text
from scheduler_core.domain.errors import TargetRefusedError
from scheduler_core.domain.jobs import MAX_PAYLOAD_BYTES, NewJob, NewJobs, RetryPolicy
from scheduler_core.domain.lifecycle import ScheduleType
from scheduler_core.domain.targets import arn_allowed
from scheduler_core.storage import merchants

_TYPES: Final = {kind.value: kind for kind in ScheduleType}
_STANDS_ALONE: Final = frozenset(
    {"target", "payload", "priority", "max_retries", "timeout_seconds", "metadata", "scheduled_at", "reference_id"}
)
"""Fields that are right whatever the others say."""
_RETRY: Final[Retry] = JobCreate.model_fields["retry"].default
_DEFAULTS: Final[JobFields] = {name: field.default for name, field in JobCreate.model_fields.items()} | {"metadata": {}}
_POLICY: Final = RetryPolicy(
    initial_seconds=_RETRY.initial_seconds, max_seconds=_RETRY.max_seconds, multiplier=_RETRY.multiplier
)
"""What nearly every job has: the default."""
_ESCAPED_NUL: Final = "\\u0000"


def new_job(body: JobCreate, job_id: UUID, merchant_id: UUID, now: datetime) -> NewJob:
    """The job that `body` asks for at `now`. Raises InvalidRequestError, BodyTooLargeError."""
    fields = vars(body)
    if not body.model_fields_set <= _STANDS_ALONE:
        faults = [*_faults(fields, now)]
        if faults:
            raise InvalidRequestError(*faults)
    return NewJob(
        id=job_id,
        merchant_id=merchant_id,
        schedule_type=_TYPES[body.schedule_type],
        scheduled_at=_scheduled_at(fields, now),
        expires_at=body.expires_at,
        priority=body.priority,
        max_retries=body.max_retries,
        retry=_policy(body.retry),
        timeout_seconds=body.timeout_seconds,
        interval_seconds=body.interval_seconds,
        max_attempts=body.max_attempts,
        target=target_text(body.target),
        payload=payload_text(body.payload),
        metadata=metadata_text(body.metadata),
        reference_id=body.reference_id,
    )


def new_jobs(bodies: Sequence[JobFields], targets: Sequence[str], ids: Sequence[str], now: datetime) -> NewJobs:
    """The jobs that valid `bodies` ask for at `now`, with their targets as JSON text and their ids in hex.

    Raises InvalidRequestError, BodyTooLargeError where one of them is not good, and does not say which.
    """
    given = set[str]().union(*bodies)
    if not given <= _STANDS_ALONE:
        faults = [fault for body in bodies for fault in _faults(_DEFAULTS | body, now)]
        if faults:
            raise InvalidRequestError(*faults)

    def column(name: str) -> list[Any]:
        default = _DEFAULTS[name]
        return [body.get(name, default) for body in bodies] if name in given else [default] * len(bodies)

    return NewJobs(
        id=ids,
        scheduled_at=[_scheduled_at(body, now) for body in bodies],
        target=targets,
        schedule_type=column("schedule_type"),
        expires_at=column("expires_at"),
        priority=column("priority"),
        max_retries=column("max_retries"),
        retry=[_policy(retry) for retry in column("retry")],
        timeout_seconds=column("timeout_seconds"),
        interval_seconds=column("interval_seconds"),
        max_attempts=column("max_attempts"),
        payload=[payload_text(payload) for payload in column("payload")],
        metadata=[metadata_text(metadata) for metadata in column("metadata")],
        reference_id=column("reference_id"),
    )


def _scheduled_at(body: JobFields, now: datetime) -> datetime:
    scheduled_at: datetime | None = body.get("scheduled_at")
    if scheduled_at is not None:
        return scheduled_at
    delay_seconds: float | None = body.get("delay_seconds")
    return now if delay_seconds is None else now + timedelta(seconds=delay_seconds)


def _faults(body: JobFields, now: datetime) -> Iterable[Fault]:
    """What is wrong with a body that names all fields, though each is right by itself."""
    if body["scheduled_at"] is not None and body["delay_seconds"] is not None:
        yield Fault("cannot be given together with scheduled_at", pointer="/delay_seconds")
    if body["expires_at"] is not None and body["expires_at"] <= max(_scheduled_at(body, now), now):
        yield Fault("should lie after the due time", pointer="/expires_at")
    if body["schedule_type"] == "polling":
        if body["interval_seconds"] is None:
            yield Fault("is required for a polling job", pointer="/interval_seconds")
    else:
        if body["interval_seconds"] is not None:
            yield Fault("is for polling jobs only", pointer="/interval_seconds")
        if body["max_attempts"] is not None:
            yield Fault("is for polling jobs only", pointer="/max_attempts")
    yield from retry_faults(body["retry"])


def retry_faults(retry: Retry) -> Iterable[Fault]:
    """What is wrong with a retry policy as a whole."""
    if retry.initial_seconds > retry.max_seconds:
        yield Fault("should not lie below initial_seconds", pointer="/retry/max_seconds")


def _policy(retry: Retry) -> RetryPolicy:
    return _POLICY if retry is _RETRY else retry_policy(retry)


@lru_cache(maxsize=1_024)
def retry_policy(retry: Retry) -> RetryPolicy:
    """The policy that a body's `retry` means."""
    return RetryPolicy(
        initial_seconds=retry.initial_seconds, max_seconds=retry.max_seconds, multiplier=retry.multiplier
    )


def payload_text(payload: object) -> str | None:
    """The payload as JSON text; None for null. Raises BodyTooLargeError, InvalidRequestError."""
    if payload is None:
        return None
    raw = to_json(payload)
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise BodyTooLargeError(f"a payload has at most {MAX_PAYLOAD_BYTES} bytes")
    text = raw.decode()
    if _ESCAPED_NUL in text and _holds_nul(payload):
        raise InvalidRequestError(Fault("should not contain the character NUL", pointer="/payload"))
    return text


def metadata_text(metadata: dict[str, str]) -> str:
    """Metadata as JSON text."""
    return to_json(metadata).decode() if metadata else "{}"


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(held) for key, held in value.items())
    return isinstance(value, list) and any(_holds_nul(held) for held in value)


class Rules(NamedTuple):
    """What is known about targets: of URLs why each is refused, None where it is not; and which ARNs are allowed."""

    urls: Mapping[str, TargetRefusedError | None]
    arns: Sequence[str]

    def fault(self, target: HttpTarget | AwsTarget) -> Fault | None:
        """Why `target` is not allowed, or None: a forbidden address, an ARN that is not the merchant's to use."""
        if isinstance(target, HttpTarget):
            return _url_fault(self.urls[target.url])
        return _arn_fault(target, self.arns)


def rules_about(merchant_id: UUID, urls: Collection[str], *, has_arns: bool) -> Rules:
    """The rules about these URLs, and about ARNs if there are any.

    Names are looked up side by side, in bounded time. Raises DatabaseUnavailableError.
    """
    refusals = wiring.target_guard().check_urls(urls) if urls else ()
    patterns: Sequence[str] = ()
    if has_arns:
        with wiring.database().of_merchant(merchant_id) as connection:
            patterns = merchants.target_arns_allowed(connection, merchant_id)
    return Rules(dict(zip(urls, refusals, strict=True)), patterns)


def require_allowed(merchant_id: UUID, target: HttpTarget | AwsTarget) -> None:
    """Raises InvalidRequestError where the target is not allowed, DatabaseUnavailableError."""
    urls = [target.url] if isinstance(target, HttpTarget) else []
    fault = rules_about(merchant_id, urls, has_arns=not urls).fault(target)
    if fault is not None:
        raise InvalidRequestError(fault)


def _url_fault(refused: TargetRefusedError | None) -> Fault | None:
    return None if refused is None else Fault(str(refused), pointer="/target/url")


def _arn_fault(target: AwsTarget, patterns: Sequence[str]) -> Fault | None:
    if arn_allowed(target.arn, patterns):
        return None
    return Fault("is not among the ARNs that this merchant may use as targets", pointer="/target/arn")
