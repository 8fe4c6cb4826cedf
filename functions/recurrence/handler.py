"""Runs once a minute: templates' next runs become jobs."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from recurrence.recurrence import Recurrence
from recurrence.settings import RecurrenceFunctionSettings
from scheduler_core.clock import utc_now
from scheduler_core.invocation.lambda_invoker import LambdaInvoker
from scheduler_core.observability.log import logger
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services.announcing import Announcer
from scheduler_core.storage.database import Database, Role


@cache
def _recurrence() -> Recurrence:
    settings = RecurrenceFunctionSettings()
    announcer = Announcer(
        ReadySet.connect(settings),
        LambdaInvoker(settings),
        executor_function=settings.executor_function,
        horizon_seconds=settings.horizon_seconds,
    )
    return Recurrence(Database.connect(settings, Role.WORKER), announcer, settings)


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - a tick says nothing
    """Answers what was done: `pages`, `templates`, `runs`, `paused`, `complete`."""
    return _recurrence().run(utc_now, lambda: context.get_remaining_time_in_millis() / 1_000).as_dict()
