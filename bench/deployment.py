"""Our functions as they are deployed, without a console: real handlers in processes of their own, behind an Invoke API.

The event loop that plays Lambda runs in a thread, so that a benchmark can be written as plain steps.
"""

import asyncio
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from dev.local_environment import ROOT, environments
from hosting import web
from hosting.gateway import Gateway
from hosting.invoke_api import InvokeApi
from hosting.invoker import DEFAULT_CAPS, Invoker
from hosting.pool import Result
from hosting.template import Template, read_template
from hosting.ticker import Ticker

NOOP_EXECUTOR: Final = "bench.noop_executor.lambda_handler"
_FINISH_SECONDS: Final = 20.0


class InvocationFailedError(Exception):
    """A function answered with an error."""


class Deployment:
    """A context manager. `executors` bounds how many run at once; `noop` replaces what they would send by nothing.

    `ticking`: the schedules of template.yaml are fired. `url` is the gateway's.
    """

    def __init__(
        self,
        stores: Mapping[str, str],
        *,
        executors: int = 1,
        noop: bool = False,
        ticking: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._stores = dict(stores)
        self._settings = {"MAX_EXECUTORS": str(executors), "JOB_EVENTS": "false", **(settings or {})}
        self._executors = executors
        self._template = (
            _with_noop(read_template(ROOT / "template.yaml")) if noop else read_template(ROOT / "template.yaml")
        )
        self._ticking = ticking
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lambda", daemon=True)
        self._ending: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._log = _Log()
        self._invoker: Invoker | None = None
        self._invoke_url = ""
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._run(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def warm(self, *functions: str) -> None:
        """Have a process ready for each; executors all of theirs."""
        invoker = self._lambda
        for name in functions:
            self._run(invoker.pools[name].warm(self._executors if name == "executor" else 1))

    def invoke(self, function: str, event: object) -> Any:
        """Run a function and wait. Raises InvocationFailedError."""
        result: Result = self._run(self._lambda.invoke(function, event))
        if result.error is not None:
            raise InvocationFailedError(f"{function}: {result.error.get('errorMessage')}\n{self._log.tail(function)}")
        return result.answer

    def pids(self, function: str) -> list[int]:
        """The processes that run a function."""
        return self._lambda.pools[function].pids

    def wait_until_idle(self, *functions: str) -> None:
        """Until none of these runs."""
        while any(self._lambda.pools[name].busy for name in functions):
            time.sleep(0.02)

    def environment(self, function: str) -> dict[str, str]:
        """What a process of the function sees, to run its handler elsewhere."""
        found = dict(self._environments(self._invoke_url)[function])
        return {**found, "PYTHONPATH": str(ROOT)}

    def tail(self, function: str) -> str:
        """The last lines that a function has logged."""
        return self._log.tail(function)

    @property
    def _lambda(self) -> Invoker:
        assert self._invoker is not None  # noqa: S101 - inside the context
        return self._invoker

    def _run[T](self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self) -> None:
        invoke_at = web.bind()
        self._invoke_url = f"http://{web.LOOPBACK}:{invoke_at.getsockname()[1]}"
        environments = self._environments(self._invoke_url)
        caps = {**DEFAULT_CAPS, "executor": self._executors}
        self._invoker = invoker = Invoker(self._template.functions, environments, self._log, caps=caps)
        invoke_api = web.WebServer(InvokeApi(invoker), invoke_at)
        gateway = web.WebServer(Gateway(self._template, invoker, self._log), web.bind())
        await invoke_api.start()
        self._ending.append(invoke_api.stop)
        await gateway.start()
        self._ending.append(gateway.stop)
        invoker.start()
        self._ending.append(invoker.stop)
        self.url = gateway.url
        if self._ticking:
            ticker = Ticker(self._template.schedules, invoker, self._log)
            ticker.start()
            self._ending.append(ticker.stop)

    def _environments(self, invoke_url: str) -> Mapping[str, Mapping[str, str]]:
        supplied = {"AWS_ENDPOINT_URL_LAMBDA": invoke_url, **self._stores}
        return environments(self._template, supplied, own={**os.environ, **self._settings})

    def _end(self) -> None:
        for each in reversed(self._ending):
            with suppress(Exception):  # the others must be ended all the same
                self._run(each())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_FINISH_SECONDS)
        self._loop.close()


def _with_noop(template: Template) -> Template:
    functions = tuple(
        dataclasses.replace(each, handler=NOOP_EXECUTOR) if each.name == "executor" else each
        for each in template.functions
    )
    return dataclasses.replace(template, functions=functions)


class _Log:
    """Keeps the last lines of each function, for an error's message."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def line(self, source: str, line: str) -> None:
        self._lines[source] = [*self._lines.get(source, [])[-20:], line]

    def event(self, name: str, **fields: Any) -> None:
        self._lines["events"] = [*self._lines.get("events", [])[-20:], f"{name} {fields}"]

    def tail(self, source: str) -> str:
        return "\n".join(self._lines.get(source, []))
