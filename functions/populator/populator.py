"""One tick of the populator."""

from dataclasses import asdict, dataclass
from datetime import datetime
from time import sleep
from typing import Any

from populator.settings import PopulatorSettings
from scheduler_core.clock import monotonic
from scheduler_core.domain.errors import QueueUnavailableError
from scheduler_core.domain.scaling import executors_to_invoke
from scheduler_core.invocation.lambda_invoker import InvocationError
from scheduler_core.observability.log import logger
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services.announcing import Invoker
from scheduler_core.services.refilling import DUTY_SECONDS, Refill, Refiller

OTHERS_FILL_SECONDS = 2 * DUTY_SECONDS
"""How long others who fill the set are waited for: one that was killed is on duty no longer after half of that."""
LOOK_SECONDS = 0.02
"""How often it is looked whether they are ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What a tick did."""

    announced: int
    complete: bool
    due: int
    executors_awake: int
    """Besides those that this tick has invoked."""
    executors_invoked: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Populator:
    """Reads what falls due inside the horizon, fairly, into the ready set, and scales the executors to it."""

    def __init__(self, refiller: Refiller, queue: ReadySet, invoker: Invoker, settings: PopulatorSettings) -> None:
        self._refiller = refiller
        self._queue = queue
        self._invoker = invoker
        self._settings = settings

    def tick(self, now: datetime) -> Tick:
        """Fill and scale; where no executor is awake they are invoked while the set is filled.

        With Redis away nothing more is done: an executor fills it when it is back.
        """
        early = _Early(self)
        try:
            refill = self._fill(now, early)
            depth = self._queue.depth(now)
        except QueueUnavailableError as error:
            logger.warning("the ready queue is away; nothing populated", extra={"cause": str(error)})
            return Tick(announced=0, complete=False, due=0, executors_awake=0, executors_invoked=early.invoked)
        awake = max(depth.executors, early.invoked)
        # None is awake although one must be: it was refused, and none has come since.
        least = 1 if refill.must_invoke else 0
        invoked = self.invoke(self.wanted(depth.due, awake, least=least))
        return Tick(
            announced=refill.announced,
            complete=refill.complete,
            due=depth.due,
            executors_awake=max(0, depth.executors - early.invoked),
            executors_invoked=early.invoked + invoked,
        )

    def _fill(self, now: datetime, early: "_Early") -> Refill:
        """From the start, which heals whatever was lost: others only go on from where the set ends."""
        waits_until = monotonic() + OTHERS_FILL_SECONDS
        while (refill := self._refiller.from_the_start(now, early)).busy and monotonic() < waits_until:
            sleep(LOOK_SECONDS)
        return refill

    def wanted(self, due: int, awake: int, *, least: int) -> int:
        """How many more executors so much that is due needs besides those awake; with them at least `least`."""
        more = executors_to_invoke(
            due, awake, per_executor=self._settings.jobs_per_executor, most=self._settings.max_executors
        )
        return max(more, least - awake)

    def invoke(self, count: int) -> int:
        """Answers how many were not refused."""
        for done in range(count):
            try:
                if self._invoker.invoke_async(self._settings.executor_function, {"reason": "backlog"}) is False:
                    return done
            except InvocationError as error:
                logger.warning("an executor could not be invoked", extra={"cause": str(error)})
                return done
        return count


class _Early:
    """Invokes executors while the set is filled, until one is refused."""

    def __init__(self, populator: Populator) -> None:
        self._populator = populator
        self._refused = False
        self.invoked = 0

    def __call__(self, due: int) -> None:
        """`due`: so many due jobs are in the set by now, and no executor was awake when the first of them came."""
        wanted = self._populator.wanted(due, self.invoked, least=1)
        if wanted and not self._refused:
            invoked = self._populator.invoke(wanted)
            self.invoked += invoked
            self._refused = invoked < wanted
