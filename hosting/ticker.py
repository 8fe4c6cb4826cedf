"""What EventBridge is to the functions: invokes them asynchronously, once at the start and then at their rate."""

import asyncio
from collections.abc import Sequence
from typing import Protocol
from uuid import uuid4

from hosting.events import ACCOUNT, REGION
from hosting.invoker import QueueFullError
from hosting.reports import Reports
from hosting.template import Schedule
from scheduler_core.clock import monotonic, utc_now


class Starts(Protocol):
    """Whatever can start a function."""

    def invoke_async(self, name: str, event: object) -> str:
        """Answers a request id. Raises QueueFullError."""


class Ticker:
    """Fires every schedule of the template."""

    def __init__(self, schedules: Sequence[Schedule], invoker: Starts, reports: Reports) -> None:
        self._schedules = schedules
        self._invoker = invoker
        self._reports = reports
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ticks(self) -> bool:
        """Whether every schedule goes on being fired."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    def start(self) -> None:
        """Fire for the first time now."""
        self._tasks = [asyncio.create_task(self._fire(schedule)) for schedule in self._schedules]

    async def stop(self) -> None:
        """Fire no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fire(self, schedule: Schedule) -> None:
        period = schedule.every.total_seconds()
        due = monotonic()
        while True:
            try:
                self._invoker.invoke_async(schedule.function, scheduled_event(schedule))
            except QueueFullError:
                self._reports.event("tick.missed", function=schedule.function)
            # After the machine has slept, one tick makes up for all that were missed.
            due = max(due + period, monotonic())
            await asyncio.sleep(due - monotonic())


def scheduled_event(schedule: Schedule) -> dict[str, object]:
    """What EventBridge Scheduler hands to a function."""
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": ACCOUNT,
        "time": utc_now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{schedule.function}-{schedule.name}"],
        "detail": "{}",
    }
