"""What Lambda is to the functions: runs each in processes of its own, at once or later, and tries again."""

import asyncio
import contextlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hosting.pool import GRACE_SECONDS, Pool, Result
from hosting.reports import Reports
from hosting.template import Function

_QUEUE = 1_000
_REAP_SECONDS = 10.0
DEFAULT_CAPS: Mapping[str, int] = {"api": 4, "executor": 2, "authorizer": 2}
RETRY_DELAYS_SECONDS = (1.0, 2.0)
"""Lambda waits one minute before the first retry of an asynchronous invocation, and two before the second."""


class QueueFullError(Exception):
    """More asynchronous invocations wait than are kept."""


@dataclass(frozen=True, slots=True)
class _Queued:
    event: object
    request_id: str
    failures: int = 0


class Invoker:
    """Every function of the template, by name."""

    def __init__(
        self,
        functions: Sequence[Function],
        environments: Mapping[str, Mapping[str, str]],
        reports: Reports,
        *,
        caps: Mapping[str, int] = DEFAULT_CAPS,
        retry_delays: Sequence[float] = RETRY_DELAYS_SECONDS,
        idle_seconds: float = 120.0,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """`grace_seconds` is how long processes may take to end when they are asked to."""
        self.pools = {
            f.name: Pool(
                f,
                environments[f.name],
                reports,
                cap=caps.get(f.name, 1),
                idle_seconds=idle_seconds,
                grace_seconds=grace_seconds,
            )
            for f in functions
        }
        self.failing: set[str] = set()
        """Functions whose last asynchronous invocation failed for good."""
        self._queues: dict[str, asyncio.Queue[_Queued]] = {name: asyncio.Queue(_QUEUE) for name in self.pools}
        self._reports = reports
        self._retry_delays = tuple(retry_delays)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits to."""
        return all(queue.empty() for queue in self._queues.values()) and not any(p.busy for p in self.pools.values())

    def start(self) -> None:
        """Begin to work through asynchronous invocations."""
        for name, pool in self.pools.items():
            self._tasks += [asyncio.create_task(self._work_through(name)) for _ in range(pool.cap)]
        self._tasks.append(asyncio.create_task(self._reap()))

    async def invoke(self, name: str, event: object) -> Result:
        """Run a function and wait for its result. Raises KeyError for an unknown one."""
        return await self.pools[name].invoke(event, str(uuid.uuid4()))

    def invoke_async(self, name: str, event: object) -> str:
        """Queue one run; answers its request id. Raises KeyError for an unknown function, QueueFullError."""
        queue = self._queues[name]
        queued = _Queued(event, str(uuid.uuid4()))
        try:
            queue.put_nowait(queued)
        except asyncio.QueueFull as error:
            raise QueueFullError(name) from error
        return queued.request_id

    async def stop(self) -> None:
        """Forget what is queued and end every process; what runs may come to its end."""
        self._stopping = True
        await asyncio.gather(*(pool.stop() for pool in self.pools.values()))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work_through(self, name: str) -> None:
        queue, pool = self._queues[name], self.pools[name]
        while not self._stopping:
            queued = await queue.get()
            result = await pool.invoke(queued.event, queued.request_id)
            if result.error is None:
                self.failing.discard(name)
            elif not self._stopping:
                self._retry(name, queued, result)

    def _retry(self, name: str, queued: _Queued, result: Result) -> None:
        error = result.error or {}
        facts = {"function": name, "request_id": queued.request_id, "error": error.get("errorMessage", "")}
        if queued.failures >= min(self.pools[name].function.max_retry_attempts, len(self._retry_delays)):
            self.failing.add(name)
            self._reports.event("invocation.dropped", **facts)
            return
        delay = self._retry_delays[queued.failures]
        self._reports.event("invocation.retried", **facts, delay_seconds=delay)
        again = _Queued(queued.event, queued.request_id, queued.failures + 1)
        asyncio.get_running_loop().call_later(delay, self._put_again, name, again)

    def _put_again(self, name: str, queued: _Queued) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._queues[name].put_nowait(queued)

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(_REAP_SECONDS)
            for pool in self.pools.values():
                pool.reap_idle()
