"""Runs once a minute: what falls due soon goes into the ready set."""

from datetime import timedelta
from functools import cache
from typing import Any
from uuid import uuid4

from aws_lambda_powertools.utilities.typing import LambdaContext

from populator.populator import Populator
from populator.settings import PopulatorSettings
from scheduler_core.clock import utc_now
from scheduler_core.garbage import collect_seldom
from scheduler_core.invocation.lambda_invoker import LambdaInvoker
from scheduler_core.observability.log import logger
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services.refilling import Refiller
from scheduler_core.storage.database import Database, Role

collect_seldom()


@cache
def _populator() -> Populator:
    settings = PopulatorSettings()
    queue = ReadySet.connect(settings)
    database = Database.connect(settings, Role.WORKER)
    refiller = Refiller(
        database,
        queue,
        horizon=timedelta(seconds=settings.horizon_seconds),
        room=settings.ready_set_max,
        holder=f"populator:{uuid4()}",
    )
    return Populator(refiller, queue, LambdaInvoker(settings), settings)


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - a tick says nothing
    """Answers what was done: `announced`, `complete`, `due`, `executors_awake`, `executors_invoked`."""
    return _populator().tick(utc_now()).as_dict()
