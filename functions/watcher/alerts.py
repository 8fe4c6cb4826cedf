"""Alerts: each one sent once per subject and hour, to SNS where there is a topic, to the log always."""

import json
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Protocol

from scheduler_core.observability.log import logger
from scheduler_core.storage import upkeep
from scheduler_core.storage.database import Database


class Topic(Protocol):
    def publish(self, subject: str, detail: dict[str, Any]) -> None: ...


class SnsTopic:
    """An SNS topic."""

    def __init__(self, arn: str) -> None:
        self._arn = arn

    def publish(self, subject: str, detail: dict[str, Any]) -> None:
        """Raises what boto3 raises."""
        _sns().publish(TopicArn=self._arn, Subject=subject[:100], Message=json.dumps(detail, default=str))


@cache
def _sns() -> Any:
    import boto3  # costs half a second: only for those who have something to publish

    return boto3.client("sns")


class Alerts:
    """Decides what is worth an alert and sees that it is sent once."""

    def __init__(self, database: Database, topic: Topic | None, *, oldest_due: timedelta) -> None:
        self._database = database
        self._topic = topic
        self._oldest_due = oldest_due

    def look(self, now: datetime, oldest_due_at: datetime | None) -> int:
        """Look for dead letters of this hour and for jobs that wait too long; answers how many alerts were sent."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        with self._database.transaction() as connection:
            dead = upkeep.dead_letters_across_merchants(connection, since=hour)
        sent = sum(
            self._send(
                now, hour, "dead_letters", str(merchant_id), {"failed_since": hour.isoformat(), "failed": failed}
            )
            for merchant_id, failed in dead
        )
        if oldest_due_at is not None and now - oldest_due_at > self._oldest_due:
            waited = round((now - oldest_due_at).total_seconds())
            sent += self._send(now, hour, "oldest_due", "installation", {"waiting_seconds": waited})
        return sent

    def _send(self, now: datetime, hour: datetime, kind: str, subject: str, detail: dict[str, Any]) -> bool:
        # Published inside the transaction: an alert that could not be sent is not registered, and is tried again.
        with self._database.transaction() as connection:
            if not upkeep.register_alert(
                connection, kind=kind, subject=subject, window_start=hour, detail=detail, now=now
            ):
                return False
            logger.warning("alert", extra={"event": f"alert.{kind}", "subject": subject, **detail})
            if self._topic is not None:
                self._topic.publish(f"Task scheduler: {kind}", {"kind": kind, "subject": subject, **detail})
        return True
