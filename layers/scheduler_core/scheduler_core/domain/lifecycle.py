"""The one state machine of a job. SQL takes its `WHERE status = ANY(...)` from here; nothing else decides.

pending --claim--> running --complete--> completed
   ^                 |--retry-----> retrying --claim--> running
   |                 |--fail------> failed --redrive--> pending
   |                 |--ask_again-> pending      (a polling job that got 202)
   |                 |--release---> retrying     (the executor's time is up, or its lease ran out)
   |--cancel--> cancelled --redrive--> pending   |--expire--> expired
"""

from enum import StrEnum
from typing import Final


class JobStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ScheduleType(StrEnum):
    ONE_TIME = "one_time"
    RECURRING = "recurring"
    POLLING = "polling"


class Event(StrEnum):
    CLAIM = "claim"
    COMPLETE = "complete"
    RETRY = "retry"
    FAIL = "fail"
    ASK_AGAIN = "ask_again"
    RELEASE = "release"
    CANCEL = "cancel"
    EXPIRE = "expire"
    REDRIVE = "redrive"
    EDIT = "edit"
    RUN_NOW = "run_now"


_P, _R, _Y = JobStatus.PENDING, JobStatus.RUNNING, JobStatus.RETRYING

TRANSITIONS: Final[dict[Event, tuple[frozenset[JobStatus], JobStatus | None]]] = {
    # event: (from, to); `to` is None where the status stays what it was
    Event.CLAIM: (frozenset({_P, _Y}), JobStatus.RUNNING),
    Event.COMPLETE: (frozenset({_R}), JobStatus.COMPLETED),
    Event.RETRY: (frozenset({_R}), JobStatus.RETRYING),
    Event.FAIL: (frozenset({_R}), JobStatus.FAILED),
    Event.ASK_AGAIN: (frozenset({_R}), JobStatus.PENDING),
    Event.RELEASE: (frozenset({_R}), JobStatus.RETRYING),
    Event.CANCEL: (frozenset({_P, _R, _Y}), JobStatus.CANCELLED),
    Event.EXPIRE: (frozenset({_P, _R, _Y}), JobStatus.EXPIRED),
    Event.REDRIVE: (frozenset({JobStatus.FAILED, JobStatus.CANCELLED}), JobStatus.PENDING),
    Event.EDIT: (frozenset({_P, _Y}), None),
    Event.RUN_NOW: (frozenset({_P, _Y}), None),
}

WAITING: Final = frozenset({_P, _Y})
TERMINAL: Final = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED})


def allowed_from(event: Event) -> list[str]:
    """The statuses from which `event` may happen, sorted, in the form that SQL takes."""
    return sorted(TRANSITIONS[event][0])


def allows(event: Event, status: JobStatus) -> bool:
    """Whether `event` may happen to a job in `status`."""
    return status in TRANSITIONS[event][0]


def after(event: Event, status: JobStatus) -> JobStatus:
    """The status after `event`; raises ValueError where the machine has no such arrow."""
    origins, target = TRANSITIONS[event]
    if status not in origins:
        raise ValueError(f"a {status} job cannot {event}")
    return target or status
