"""After a commit: put what falls due soon into the ready set, and see that somebody is awake for it.

Never raises: PostgreSQL has the job, and the populator finds what was not announced (I1).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from scheduler_core.clock import monotonic
from scheduler_core.domain.errors import QueueUnavailableError
from scheduler_core.domain.jobs import Hint
from scheduler_core.invocation.lambda_invoker import InvocationError
from scheduler_core.observability.log import logger
from scheduler_core.queueing.ready_set import Announcement, ReadySet, announcement

PAUSE_SECONDS = 2.0
"""How long Redis is left alone after it did not answer, so that requests do not queue up behind its time-outs."""


class Invoker(Protocol):
    def invoke_async(self, function: str, payload: dict[str, object] | None = None) -> bool | None:
        """False: no more of them are taken for the moment."""


class Announcer:
    """Announces hints on behalf of one process."""

    def __init__(self, queue: ReadySet, invoker: Invoker, *, executor_function: str, horizon_seconds: int) -> None:
        self._queue = queue
        self._invoker = invoker
        self._executor_function = executor_function
        self._horizon = timedelta(seconds=horizon_seconds)
        self._paused_until = 0.0

    def announce(self, now: datetime, hints: Sequence[Hint]) -> None:
        """Put what falls due within the horizon into the ready set; invoke an executor if none is awake."""
        self.send(self.prepare(now, hints))

    def prepare(self, now: datetime, hints: Sequence[Hint]) -> Announcement:
        """What `send` will say of `hints`. Says nothing yet, so it may be done before the commit."""
        until = now + self._horizon
        return announcement(now, [hint for hint in hints if hint.due_at <= until])

    def send(self, prepared: Announcement) -> None:
        """As `announce`."""
        if not prepared.pages or monotonic() < self._paused_until:
            return
        try:
            must_invoke = self._queue.send(prepared)
        except QueueUnavailableError as error:
            # An executor waits for Redis to come back; and fills it from PostgreSQL, because what is due is not in it.
            self._paused_until = monotonic() + PAUSE_SECONDS
            logger.warning("the ready queue is away; jobs wait in PostgreSQL", extra={"cause": str(error)})
            self.wake_executor("unannounced")
            return
        if must_invoke:
            self.wake_executor()

    def announce_cancelled(self, now: datetime, job: Hint) -> None:
        """Have a running delivery of `job` cut off."""
        try:
            self._queue.announce_cancelled(now, [job.job_id])
        except QueueUnavailableError as error:
            logger.warning("a cancellation waits for the next heartbeat", extra={"cause": str(error)})

    def wake_executor(self, reason: str = "announced") -> None:
        """Invoke one executor; `unannounced`: for what is in PostgreSQL only."""
        try:
            self._invoker.invoke_async(self._executor_function, {"reason": reason})
        except InvocationError as error:
            logger.warning("no executor could be invoked; the next tick brings one", extra={"cause": str(error)})
