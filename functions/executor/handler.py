"""Delivers what is due: once a minute, and when the API or the populator asks; until there is nothing to do."""

import random
import sys
from datetime import datetime
from functools import cache
from typing import Any
from uuid import uuid4

from aws_lambda_powertools.utilities.typing import LambdaContext

from executor.admission import admit
from executor.crew import Crew
from executor.executor import Report
from executor.kept import Kept
from executor.settings import ExecutorSettings
from executor.stopping import stop_request
from scheduler_core.clock import utc_now
from scheduler_core.domain.jobs import AttemptRecord, RunningJob
from scheduler_core.domain.outcomes import released
from scheduler_core.garbage import collect_seldom
from scheduler_core.observability.log import logger
from scheduler_core.queueing.ready_set import Arrival

LAST_SECONDS = 5.0
"""What is kept of the invocation's time for writing down what came of it."""


# The courier's thread must get its turn while another computes: at Python's default of 5 ms it sends half as many.
sys.setswitchinterval(0.0005)
collect_seldom()

_TURNED_AWAY = {Arrival.IDLE: "idle", Arrival.ENOUGH: "not needed"}


@cache
def _kept() -> Kept:
    return Kept(ExecutorSettings())


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers the invocation's report: `popped`, `claimed`, `released`, `reason`, `more`."""
    kept, report, executor_id = _kept(), Report(), uuid4()
    settings = kept.settings
    reason = str(event.get("reason", "tick"))
    with kept.queue() as queue:
        arrival = admit(settings, queue, executor=str(executor_id), reason=reason, now=utc_now())
        if arrival in _TURNED_AWAY:
            report.reason = _TURNED_AWAY[arrival]
            return report.as_dict()
        remaining = _remaining_seconds(context)
        drain = min(settings.drain_seconds, remaining() / 2)
        with (
            stop_request(settings.stop_seconds) as stopped,
            Crew(kept, queue, executor_id=executor_id, clock=utc_now, jitter=random.random) as crew,
        ):
            crew.executor.run(
                lambda: stopped.is_set() or remaining() < drain,
                report,
                stay=reason == "stay",
                redis_was_away=arrival is Arrival.BLIND,
            )
            if report.more and not stopped.is_set():
                crew.hand_over()
            crew.drain(lambda: not stopped.is_over() and remaining() > LAST_SECONDS)
            report.released = crew.release(_time_is_up)
            if report.released and not stopped.is_set():
                crew.hand_over()
    return report.as_dict()


def _remaining_seconds(context: LambdaContext) -> Any:
    return lambda: context.get_remaining_time_in_millis() / 1_000


def _time_is_up(now: datetime, job: RunningJob) -> AttemptRecord:
    return released(now, job, "its executor's time was up")
