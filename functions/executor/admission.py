"""Whether an executor that was just invoked has work: one question to Redis, before anything else is put together."""

from datetime import datetime

from executor.settings import ExecutorSettings
from scheduler_core.domain.errors import DatabaseUnavailableError, QueueUnavailableError
from scheduler_core.domain.scaling import LINGER
from scheduler_core.observability.log import logger
from scheduler_core.queueing.ready_set import Arrival, ReadySet
from scheduler_core.services.announcing import DOUBT_SECONDS
from scheduler_core.storage import claims
from scheduler_core.storage.database import Database, Role


def admit(settings: ExecutorSettings, queue: ReadySet, *, executor: str, reason: str, now: datetime) -> Arrival:
    """Count `executor` as awake, or say why it is not needed. With Redis away PostgreSQL is asked what waits (I1).

    One that is to stay is needed without a question; its first pop counts it as awake.
    """
    if reason == "stay":
        return Arrival.NEEDED
    try:
        if reason == "unannounced":
            queue.distrust(now, seconds=DOUBT_SECONDS)
        return queue.arrive(
            now, executor=executor, jobs_per_executor=settings.jobs_per_executor, ticked=reason == "tick"
        )
    except QueueUnavailableError as error:
        logger.warning("the ready queue is away; asking the database", extra={"cause": str(error)})
    database = Database.connect(settings, Role.WORKER)
    try:
        with database.transaction() as connection:
            oldest = claims.oldest_due_across_merchants(connection)
    except DatabaseUnavailableError as error:
        logger.warning("the database is away too; the next tick asks again", extra={"cause": str(error)})
        return Arrival.IDLE
    finally:
        database.close()
    return Arrival.BLIND if oldest is not None and oldest <= now + LINGER else Arrival.IDLE
