"""Runs once a minute, and whenever an executor finds that nobody watches over it."""

import random
import time
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import uuid4

from aws_lambda_powertools.utilities.typing import LambdaContext

from scheduler_core.clock import utc_now
from scheduler_core.invocation.lambda_invoker import LambdaInvoker
from scheduler_core.observability.log import logger
from scheduler_core.observability.metrics import emit
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services.announcing import Announcer
from scheduler_core.storage.database import Database, Role
from watcher.alerts import Alerts, SnsTopic
from watcher.job_rescuer import JobRescuer
from watcher.settings import WatcherSettings
from watcher.watcher import Report, Watcher


@cache
def _settings() -> WatcherSettings:
    return WatcherSettings()


@cache
def _watcher() -> Watcher:
    settings, watcher_id = _settings(), uuid4()
    queue, database = ReadySet.connect(settings), Database.connect(settings, Role.WORKER)
    announcer = Announcer(
        queue,
        LambdaInvoker(settings),
        executor_function=settings.executor_function,
        horizon_seconds=settings.horizon_seconds,
    )
    rescuer = JobRescuer(
        database,
        announcer,
        watcher_id=watcher_id,
        page_size=settings.page_size,
        max_pages=settings.max_pages,
        jitter=random.random,
    )
    topic = SnsTopic(settings.alert_topic_arn) if settings.alert_topic_arn else None
    return Watcher(
        database,
        queue,
        announcer,
        rescuer,
        Alerts(database, topic, oldest_due=timedelta(seconds=settings.alert_oldest_due_seconds)),
        watcher_id=str(watcher_id),
        watch=timedelta(seconds=settings.watch_seconds),
        retention=timedelta(days=settings.retention_days),
        page_size=settings.page_size,
        max_pages=settings.max_pages,
    )


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers the run's report: passes, rescued, expired, partitions, alerts and so on. Metrics come in any case."""
    report = Report()
    try:
        _watcher().run(
            utc_now,
            time.sleep,
            lambda: context.get_remaining_time_in_millis() / 1_000,
            report,
            least_passes=2 if event.get("reason") == "unwatched" else 1,
        )
    finally:
        _measure(report)
    return report.as_dict()


def _measure(report: Report) -> None:
    emit(
        _settings().service_namespace,
        service="watcher",
        seconds={"OldestDueAgeSeconds": report.oldest_due_age_seconds},
        counts={
            "CompletedLastMinute": report.completed_last_minute,
            "FailedLastMinute": report.failed_last_minute,
            "JobsRescued": report.rescued,
            "JobsExpired": report.expired,
            "AlertsSent": report.alerts,
        },
    )
