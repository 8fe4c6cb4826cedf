"""An outage is told when it begins, each minute it lasts, and when it is over, however often one asks meanwhile."""

from collections.abc import Callable
from typing import Final

from scheduler_core.clock import monotonic
from scheduler_core.observability.log import logger

AGAIN_SECONDS: Final = 60.0


class Outage:
    """Of one store, as one thread sees it that waits for the store and tries several times a second."""

    def __init__(self, store: str, meanwhile: str, *, clock: Callable[[], float] = monotonic) -> None:
        """`store` is away, and `meanwhile` is what becomes of the work, as in "the database", "results wait"."""
        self._store = store
        self._meanwhile = meanwhile
        self._clock = clock
        self._told_at: float | None = None

    def goes_on(self, cause: Exception, **facts: object) -> None:
        """It could not be reached; `facts` go into the line, if there is one."""
        now = self._clock()
        if self._told_at is None or now - self._told_at >= AGAIN_SECONDS:
            self._told_at = now
            logger.warning(f"{self._store} is away; {self._meanwhile}", extra={"cause": str(cause), **facts})

    def is_over(self) -> None:
        """It could be reached; says nothing where nothing was said."""
        if self._told_at is not None:
            self._told_at = None
            logger.info(f"{self._store} is back")
