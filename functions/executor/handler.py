"""Delivers what is due: once a minute, and when the API or the populator asks; until there is nothing to do."""

import random
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from executor.crew import Crew, is_needed
from executor.executor import Report
from executor.settings import ExecutorSettings
from scheduler_core.clock import utc_now
from scheduler_core.domain.jobs import AttemptRecord, ClaimedJob
from scheduler_core.domain.outcomes import released
from scheduler_core.observability.log import logger

LAST_SECONDS = 5.0
"""What is kept of the invocation's time for writing down what came of it."""


# The courier's thread must get its turn while another computes: at Python's default of 5 ms it sends half as many.
sys.setswitchinterval(0.0005)


@cache
def _settings() -> ExecutorSettings:
    return ExecutorSettings()


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers the invocation's report: `popped`, `claimed`, `released`, `reason`, `more`."""
    settings, report, reason = _settings(), Report(), str(event.get("reason", "tick"))
    if not is_needed(settings, utc_now(), reason):
        report.reason = "not needed"
        return report.as_dict()
    remaining = _remaining_seconds(context)
    drain = min(settings.drain_seconds, remaining() / 2)
    with _stop_signal() as stopped, Crew(settings, clock=utc_now, jitter=random.random) as crew:
        crew.executor.run(lambda: stopped.is_set() or remaining() < drain, report, stay=reason == "stay")
        crew.drain(lambda: not stopped.is_set() and remaining() > LAST_SECONDS)
        report.released = crew.release(_time_is_up)
    if report.more and not stopped.is_set():
        crew.hand_over()
    return report.as_dict()


def _remaining_seconds(context: LambdaContext) -> Any:
    return lambda: context.get_remaining_time_in_millis() / 1_000


def _time_is_up(now: datetime, job: ClaimedJob) -> AttemptRecord:
    return released(now, job, "its executor's time was up")


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM sets: a process that is told to go finishes what it holds."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, before)
