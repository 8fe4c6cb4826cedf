"""Keeps one executor awake, for an API that could not wake one: it then only has to ring through Redis."""

import asyncio
import contextlib

from hosting.invoker import Invoker
from hosting.pool import Result
from scheduler_core.clock import utc_now
from scheduler_core.domain.errors import QueueUnavailableError
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.settings import QueueSettings

_LOOK_SECONDS = 0.2


class Vigil:
    """Asks for an executor that stays, whenever none is awake: at the start, after a crash, when one's time is up."""

    def __init__(self, invoker: Invoker, redis_url: str) -> None:
        self._invoker = invoker
        self._queue = ReadySet.connect(QueueSettings.model_validate({"redis_url": redis_url}))
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._asked: set[asyncio.Task[Result]] = set()

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._keep())

    async def until_awake(self) -> None:
        """Wait for the first executor."""
        await self._awake.wait()

    async def stop(self) -> None:
        """Ask for no more. Those that stay end with their invoker."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._queue.close()

    async def _keep(self) -> None:
        asked: asyncio.Task[Result] | None = None
        while True:
            if await asyncio.to_thread(self._anybody):
                self._awake.set()
                asked = None
            elif asked is None or asked.done():
                asked = self._ask()
            await asyncio.sleep(_LOOK_SECONDS)

    def _ask(self) -> asyncio.Task[Result]:
        asked = asyncio.create_task(self._invoker.invoke("executor", {"reason": "stay"}))
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        return asked

    def _anybody(self) -> bool:
        with contextlib.suppress(QueueUnavailableError):
            return self._queue.depth(utc_now()).executors > 0
        return True  # an executor waits for Redis as we do: there is nobody to ask for
