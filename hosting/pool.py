"""The processes of one function: one invocation at a time in each, more of them on demand, up to a cap."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hosting import frames
from hosting.reports import Reports
from hosting.template import Function
from scheduler_core.clock import monotonic

_LONGEST_LINE = 1_048_576
GRACE_SECONDS = 2.0
_INIT_SECONDS = 30.0
_STOPPED: Mapping[str, Any] = {"errorType": "Sandbox.Stopped", "errorMessage": "the stack is being stopped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an invocation ended: what the handler answered, or an error in Lambda's form."""

    answer: Any = None
    error: Mapping[str, Any] | None = None

    def as_json(self) -> bytes:
        """The body that Lambda's Invoke API answers with."""
        return json.dumps(self.answer if self.error is None else self.error).encode()


class Sandbox:
    """One process with the function's handler in it."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self.process = process
        self.idle_since = monotonic()
        self._channel = channel
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def lives(self) -> bool:
        return self.process.returncode is None

    async def ready(self) -> Mapping[str, Any] | None:
        """Wait until the handler is imported; an error in Lambda's form where it cannot be."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._channel)
        try:
            async with asyncio.timeout(_INIT_SECONDS):
                first = await frames.read(self._reader)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            self.kill()
            return {"errorType": "Runtime.ExitError", "errorMessage": "the process ended before its handler was loaded"}
        return first.get("error")

    async def run(self, event: object, request_id: str, timeout_seconds: float) -> Result:
        """Hand one event to the handler. The process is dead afterwards if it crashed or took too long."""
        assert self._reader is not None and self._writer is not None  # noqa: S101, PT018 - set by ready()
        deadline_ms = time.time_ns() // 1_000_000 + round(timeout_seconds * 1_000)
        message = {"request_id": request_id, "deadline_ms": deadline_ms, "event": event}
        try:
            async with asyncio.timeout(timeout_seconds):
                self._writer.write(frames.pack(message))
                answer = await frames.read(self._reader)
        except TimeoutError:
            self.kill()
            return _failed("Sandbox.Timedout", request_id, f"Task timed out after {timeout_seconds:.2f} seconds")
        except (asyncio.IncompleteReadError, ConnectionError):
            code = await self.process.wait()
            how = f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
            return _failed("Runtime.ExitError", request_id, f"Runtime exited with error: {how}")
        except asyncio.CancelledError:
            self.kill()  # it would answer the next one with this one's result
            raise
        return Result(answer=answer.get("result"), error=answer.get("error"))

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def close(self) -> None:
        """Close our end of the channel: for an idle process that is the sign to leave."""
        if self._writer is None:
            self._channel.close()
        else:
            self._writer.close()

    async def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Ask it to end; a handler with an ending of its own has some time for it."""
        self.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(grace_seconds):
                await self.process.wait()
        except TimeoutError:
            self.kill()
            await self.process.wait()


class Pool:
    """All processes of one function."""

    def __init__(
        self,
        function: Function,
        environment: Mapping[str, str],
        reports: Reports,
        *,
        cap: int,
        idle_seconds: float = 120.0,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self.function = function
        self.cap = cap
        self._environment = dict(environment)
        self._reports = reports
        self._idle_seconds = idle_seconds
        self._grace_seconds = grace_seconds
        self._all: set[Sandbox] = set()
        self._idle: list[Sandbox] = []
        self._waiting: deque[asyncio.Future[Sandbox | Mapping[str, Any]]] = deque()
        self._starting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def pids(self) -> list[int]:
        """The processes that live."""
        return sorted(sandbox.process.pid for sandbox in self._all if sandbox.lives)

    @property
    def busy(self) -> bool:
        """Whether an invocation runs or waits for a process."""
        return bool(self._waiting or self._starting) or len(self._idle) < len(self._all)

    async def warm(self, count: int = 1) -> None:
        """Have `count` processes ready, but no more than the cap; those that there are already count."""
        wanted = min(count, self.cap)
        for _ in range(wanted):  # no more often, should starting fail
            if len(self._all) + self._starting >= wanted:
                return
            self._starting += 1
            await self._start()

    async def invoke(self, event: object, request_id: str) -> Result:
        """Run one invocation, waiting for a free process where all are busy."""
        got = await self._acquire()
        if not isinstance(got, Sandbox):
            return Result(error=got)
        try:
            return await got.run(event, request_id, self.function.timeout_seconds)
        finally:
            self._release(got)

    def reap_idle(self) -> None:
        """End processes beyond the first that had nothing to do for a while."""
        since = monotonic() - self._idle_seconds
        for sandbox in [s for s in self._idle if s.idle_since < since][: max(0, len(self._all) - 1)]:
            self._idle.remove(sandbox)
            self._spawn(sandbox.stop())

    async def stop(self) -> None:
        """End all processes."""
        self._stopped = True
        while waiter := self._next_waiter():
            waiter.set_result(_STOPPED)
        await asyncio.gather(*(sandbox.stop(self._grace_seconds) for sandbox in self._all))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _acquire(self) -> Sandbox | Mapping[str, Any]:
        while self._idle:
            sandbox = self._idle.pop()  # the last used one: the others can then be reaped
            if sandbox.lives:
                return sandbox
        if self._stopped:
            return _STOPPED
        waiter: asyncio.Future[Sandbox | Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._grow()
        return await waiter

    def _grow(self) -> None:
        # One at a time: a burst that the present ones can serve does not start a crowd.
        if self._waiting and not self._starting and len(self._all) < self.cap and not self._stopped:
            self._starting += 1
            self._spawn(self._start())

    async def _start(self) -> None:
        # Whoever calls this has counted it already, so that nobody starts a second one meanwhile.
        try:
            sandbox = await self._launch()
            failure = await sandbox.ready()
        finally:
            self._starting -= 1
        if failure is None:
            self._offer(sandbox)
        else:
            sandbox.kill()
            if waiter := self._next_waiter():
                waiter.set_result(failure)
        self._grow()

    async def _launch(self) -> Sandbox:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "hosting.runtime",
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={**self._environment, "STACK_PID": str(os.getpid())},
                start_new_session=True,
                limit=_LONGEST_LINE,
            )
        sandbox = Sandbox(process, ours)
        self._all.add(sandbox)
        self._spawn(self._watch(sandbox))
        self._reports.event("process.started", function=self.function.name, pid=process.pid)
        return sandbox

    async def _watch(self, sandbox: Sandbox) -> None:
        await forward_lines(sandbox.process, self.function.name, self._reports)
        code = await sandbox.process.wait()
        sandbox.close()
        self._all.discard(sandbox)
        if sandbox in self._idle:
            self._idle.remove(sandbox)
        self._reports.event("process.ended", function=self.function.name, pid=sandbox.process.pid, exit_code=code)
        self._grow()

    def _release(self, sandbox: Sandbox) -> None:
        if sandbox.lives and not self._stopped:
            self._offer(sandbox)
        else:
            self._grow()

    def _offer(self, sandbox: Sandbox) -> None:
        if waiter := self._next_waiter():
            waiter.set_result(sandbox)
        else:
            sandbox.idle_since = monotonic()
            self._idle.append(sandbox)

    def _next_waiter(self) -> asyncio.Future[Sandbox | Mapping[str, Any]] | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def forward_lines(process: asyncio.subprocess.Process, source: str, reports: Reports) -> None:
    """Pass on what a process writes, line by line, until it ends."""
    assert process.stdout is not None  # noqa: S101 - started with a pipe
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError:  # longer than anyone would read
            continue
        if not line:
            return
        reports.line(source, line.decode(errors="replace").rstrip("\n"))


def _failed(kind: str, request_id: str, message: str) -> Result:
    return Result(error={"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {message}"})
