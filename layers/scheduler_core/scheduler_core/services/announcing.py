"""After a commit: put what falls due soon into the ready set, and see that somebody is awake for it.

Never raises: PostgreSQL has the job, and the populator finds what was not announced (I1).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from scheduler_core.clock import monotonic
from scheduler_core.domain.errors import QueueUnavailableError
from scheduler_core.domain.jobs import Hint
from scheduler_core.invocation.lambda_invoker import InvocationError
from scheduler_core.observability.log import logger
from scheduler_core.observability.outage import Outage
from scheduler_core.queueing.announcement import Announcement, announcement
from scheduler_core.queueing.ready_set import ReadySet

PAUSE_SECONDS = 2.0
"""How long Redis is left alone after it did not answer, so that requests do not queue up behind its time-outs."""
DOUBT_SECONDS: Final = PAUSE_SECONDS + 0.5
"""For how long, once Redis is back, some who found it away may still leave it alone: what they do not tell is lost."""
LATER: Final = timedelta(seconds=10)
"""What is due so far ahead nobody pops while it is being stored: twice as long as PostgreSQL lets a statement run."""


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
        self._kept_quiet = False
        self._outage = Outage("the ready queue", "jobs wait in PostgreSQL")

    def announce(self, now: datetime, hints: Sequence[Hint]) -> None:
        """Put what falls due within the horizon into the ready set; invoke an executor if none is awake."""
        self.send(self.prepare(now, hints))

    def prepare(self, now: datetime, hints: Sequence[Hint]) -> Announcement:
        """What `send` will say of `hints`. Says nothing yet, so it may be done before the commit."""
        until = now + self._horizon
        return announcement(now, [hint for hint in hints if hint.due_at <= until])

    def send(self, prepared: Announcement) -> None:
        """As `announce`."""
        if self._will_tell(prepared):
            self._follow_up(partial(self._queue.send, prepared))

    @contextmanager
    def beside(self, now: datetime, hint: Hint) -> Iterator[None]:
        """Announce the job that the block stores and commits.

        Redis is told of what is due `LATER` while PostgreSQL works: a hint whose job never comes to be claims nothing.
        It is told of anything sooner after the block, because somebody may pop that at once, and a hint that is popped
        before the commit is lost. Nothing is announced of what is due sooner where the block raises.
        """
        prepared = self.prepare(now, [hint])
        if hint.due_at - now < LATER or not self._will_tell(prepared):
            yield
            self.send(prepared)
            return
        answer = self._begin(prepared)
        try:
            yield
        finally:
            # In any case: who is told to wake an executor is for a while the only one who is.
            self._follow_up(answer)

    def announce_cancelled(self, now: datetime, job: Hint) -> None:
        """Have a running delivery of `job` cut off."""
        try:
            self._queue.announce_cancelled(now, [job.job_id])
        except QueueUnavailableError as error:
            logger.warning("a cancellation waits for the next heartbeat", extra={"cause": str(error)})

    def own_up(self) -> None:
        """There may be jobs that nobody has announced, and it is not known which: have the set filled anew."""
        self._kept_quiet = True
        self._own_up()
        self.wake_executor("unannounced" if self._kept_quiet else "announced")

    def wake_executor(self, reason: str = "announced") -> None:
        """Invoke one executor; `unannounced`: for what is in PostgreSQL only."""
        try:
            self._invoker.invoke_async(self._executor_function, {"reason": reason})
        except InvocationError as error:
            logger.warning("no executor could be invoked; the next tick brings one", extra={"cause": str(error)})

    def _will_tell(self, prepared: Announcement) -> bool:
        return bool(prepared.pages) and monotonic() >= self._paused_until

    def _begin(self, prepared: Announcement) -> Callable[[], bool]:
        try:
            return self._queue.begin(prepared)
        except QueueUnavailableError as error:
            return partial(_fail, error)

    def _follow_up(self, told: Callable[[], bool]) -> None:
        try:
            must_invoke = told()
        except QueueUnavailableError as error:
            self._outage.goes_on(error)
            self._keep_quiet()
            return
        except Exception:  # noqa: BLE001 - the jobs are stored, and their producer must hear so
            logger.exception("jobs were stored and could not be announced")
            self._keep_quiet()
            return
        self._outage.is_over()
        if self._kept_quiet:
            self._own_up()
        if must_invoke:
            self.wake_executor()

    def _keep_quiet(self) -> None:
        """For a while. An executor waits for Redis and fills it from PostgreSQL, because what is due is not in it."""
        self._kept_quiet = True
        self._paused_until = monotonic() + PAUSE_SECONDS
        self.wake_executor("unannounced")

    def _own_up(self) -> None:
        """Say that there are jobs which were not announced: the executor that was asked to may not have come yet."""
        with suppress(QueueUnavailableError):  # then the next time
            self._queue.mark_incomplete()
            self._kept_quiet = False


def _fail(error: QueueUnavailableError) -> bool:
    raise error
