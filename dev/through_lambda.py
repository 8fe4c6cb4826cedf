"""Starts functions through Lambda's Invoke API elsewhere: `sam local start-lambda`.

Each invocation is waited for, so that its result can be told. SAM runs one invocation of a function at a time, so a
tick of a function that still works on the last one is left out.
"""

import asyncio
import json
import uuid
from collections.abc import Mapping

import httpx

from dev.ticks import in_order
from hosting.pool import Result
from hosting.reports import Reports
from hosting.template import Template
from hosting.ticker import Ticker, scheduled_event

_CONNECT_SECONDS = 5.0
_SPARE_SECONDS = 60.0
"""What a container may take to start, beyond the function's own time."""


class ThroughLambda:
    """The scheduled functions of a template behind an endpoint; they go by their logical ids there."""

    def __init__(self, template: Template, url: str, reports: Reports) -> None:
        self._functions = {function.name: function for function in template.functions}
        self._schedules = template.schedules
        self._reports = reports
        self._client = httpx.AsyncClient(base_url=url, trust_env=False)
        self._ticker = Ticker(template.schedules, self, reports)
        self._running: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """There is nothing to prepare."""

    def fire(self) -> None:
        """Fire every schedule now, and then at its rate."""
        self._ticker.start()

    async def once(self) -> Mapping[str, Result]:
        """Fire every schedule once, one after the other."""
        schedules = in_order(self._schedules)
        return {each.function: await self.invoke(each.function, scheduled_event(each)) for each in schedules}

    async def stop(self) -> None:
        """Fire no more, and wait for nothing."""
        await self._ticker.stop()
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await self._client.aclose()

    def invoke_async(self, name: str, event: object) -> str:
        """Run a function, unless it runs already."""
        if name in self._running:
            self._reports.event("tick.missed", function=name)
        else:
            task = self._running[name] = asyncio.create_task(self._told(name, event))
            task.add_done_callback(lambda _: self._running.pop(name, None))
        return str(uuid.uuid4())

    async def invoke(self, name: str, event: object) -> Result:
        """Run a function and wait for its result; a connection that fails is an error like any other."""
        function = self._functions[name]
        timeout = httpx.Timeout(function.timeout_seconds + _SPARE_SECONDS, connect=_CONNECT_SECONDS)
        path = f"/2015-03-31/functions/{function.logical_id}/invocations"
        try:
            answer = await self._client.post(path, json=event, timeout=timeout)
        except httpx.HTTPError as error:
            return Result(error={"errorType": type(error).__name__, "errorMessage": str(error) or "no answer"})
        return _result(answer)

    async def _told(self, name: str, event: object) -> None:
        result = await self.invoke(name, event)
        if result.error is not None:
            self._reports.event("invocation.dropped", function=name, error=result.error.get("errorMessage", ""))
        else:
            self._reports.event("tick.ended", function=name, answer=result.answer)


def _result(answer: httpx.Response) -> Result:
    try:
        told = answer.json()
    except json.JSONDecodeError:
        told = answer.text
    if answer.status_code != httpx.codes.OK or "x-amz-function-error" in answer.headers:
        said = told if isinstance(told, dict) else {}
        message = said.get("errorMessage") or said.get("Message") or f"{answer.status_code} {answer.text[:200]}"
        return Result(error={"errorType": said.get("errorType", "Unknown"), "errorMessage": message})
    return Result(answer=told)
