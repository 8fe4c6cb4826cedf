"""One tick of the populator."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from populator.settings import PopulatorSettings
from scheduler_core.domain.errors import QueueUnavailableError
from scheduler_core.domain.scaling import executors_to_invoke
from scheduler_core.invocation.lambda_invoker import InvocationError
from scheduler_core.observability.log import logger
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services.announcing import Invoker
from scheduler_core.services.refilling import Refiller


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
        """Fill, then scale; the first executor starts while the set is filled.

        With Redis away nothing more is done: an executor fills it when it is back.
        """
        early: list[int] = []
        try:
            refill = self._refiller.from_the_start(now, lambda: early.append(self._invoke(1)))
            depth = self._queue.depth(now)
        except QueueUnavailableError as error:
            logger.warning("the ready queue is away; nothing populated", extra={"cause": str(error)})
            return Tick(announced=0, complete=False, due=0, executors_awake=0, executors_invoked=sum(early))
        awake = max(depth.executors, sum(early))
        more = executors_to_invoke(
            depth.due, awake, per_executor=self._settings.jobs_per_executor, most=self._settings.max_executors
        )
        if refill.must_invoke and not awake:  # it was refused, and none has come since
            more = max(more, 1)
        return Tick(
            announced=refill.announced,
            complete=refill.complete,
            due=depth.due,
            executors_awake=max(0, depth.executors - sum(early)),
            executors_invoked=sum(early) + self._invoke(more),
        )

    def _invoke(self, count: int) -> int:
        for done in range(count):
            try:
                if self._invoker.invoke_async(self._settings.executor_function, {"reason": "backlog"}) is False:
                    return done
            except InvocationError as error:
                logger.warning("an executor could not be invoked", extra={"cause": str(error)})
                return done
        return count
