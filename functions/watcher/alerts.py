"""Alerts: each one sent once per subject and hour, to SNS where there is a topic, to the log always."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, Protocol

from scheduler_core.domain.errors import SchedulerError
from scheduler_core.observability.log import logger
from scheduler_core.storage import upkeep
from scheduler_core.storage.database import Database

_REGION: Final = 3
_LATEST: Final = timedelta(minutes=5)
"""How long after the end of an hour what failed in it is still looked for: the last look may have been before."""


class AlertNotSentError(SchedulerError):
    """The topic did not take an alert."""


class Topic(Protocol):
    def publish(self, subject: str, detail: dict[str, Any]) -> None:
        """Raises AlertNotSentError."""


class SnsTopic:
    """An SNS topic; its endpoint is AWS_ENDPOINT_URL_SNS where that is set, as boto3 does it."""

    def __init__(self, arn: str) -> None:
        self._arn = arn

    def publish(self, subject: str, detail: dict[str, Any]) -> None:
        """Raises AlertNotSentError, after two tries of a few seconds each."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.publish(TopicArn=self._arn, Subject=subject[:100], Message=json.dumps(detail, default=str))
        except (BotoCoreError, ClientError) as error:
            raise AlertNotSentError(str(error)) from error

    @cached_property
    def _client(self) -> Any:
        import boto3  # costs half a second: only for those who have something to publish
        from botocore.config import Config

        bounds = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2})
        return boto3.client("sns", region_name=self._arn.split(":")[_REGION], config=bounds)


@dataclass(frozen=True, slots=True)
class _Alert:
    """Worth sending once: the first of its kind and subject in its hour."""

    kind: str
    subject: str
    hour: datetime
    detail: dict[str, Any]


class Alerts:
    """Decides what is worth an alert and sees that it is sent once."""

    def __init__(self, database: Database, topic: Topic | None, *, oldest_due: timedelta) -> None:
        self._database = database
        self._topic = topic
        self._oldest_due = oldest_due
        self._unsent: set[tuple[str, str, datetime]] = set()

    def look(self, now: datetime, oldest_due_at: datetime | None) -> int:
        """Look for dead letters of this hour, or of one just over, and for jobs that wait too long.

        Answers how many alerts were sent. Where the topic does not take one, no other is tried: the next look begins
        again. Raises DatabaseUnavailableError.
        """
        hour = _hour_of(now)
        found = self._dead_letters(hour)
        if _hour_of(now - _LATEST) != hour:
            found = self._dead_letters(_hour_of(now - _LATEST)) + found
        if oldest_due_at is not None and now - oldest_due_at > self._oldest_due:
            waited = round((now - oldest_due_at).total_seconds())
            found.append(_Alert("oldest_due", "installation", hour, {"waiting_seconds": waited}))
        sent = 0
        for alert in found:
            try:
                sent += self._send(now, alert)
            except AlertNotSentError as error:
                self._say_unsent(alert, error)
                break
        return sent

    def _dead_letters(self, hour: datetime) -> list[_Alert]:
        with self._database.transaction() as connection:
            dead = upkeep.dead_letters_across_merchants(connection, since=hour, until=hour + timedelta(hours=1))
        since = hour.isoformat()
        return [
            _Alert("dead_letters", str(merchant_id), hour, {"failed_since": since, "failed": failed})
            for merchant_id, failed in dead
        ]

    def _send(self, now: datetime, alert: _Alert) -> bool:
        # Published inside the transaction: an alert that could not be sent is not registered, and is tried again.
        with self._database.transaction() as connection:
            if not upkeep.register_alert(
                connection,
                kind=alert.kind,
                subject=alert.subject,
                window_start=alert.hour,
                detail=alert.detail,
                now=now,
            ):
                return False
            if self._topic is not None:
                told = {"kind": alert.kind, "subject": alert.subject, **alert.detail}
                self._topic.publish(f"Task scheduler: {alert.kind}", told)
        logger.warning("alert", extra={"event": f"alert.{alert.kind}", "subject": alert.subject, **alert.detail})
        return True

    def _say_unsent(self, alert: _Alert, error: AlertNotSentError) -> None:
        """Once for each alert: it is tried again every few seconds while a watcher is on guard."""
        key = (alert.kind, alert.subject, alert.hour)
        if key in self._unsent:
            return
        self._unsent = {each for each in self._unsent if each[-1] == alert.hour} | {key}
        logger.error(
            "an alert could not be sent; it is tried again",
            extra={"event": f"alert.{alert.kind}", "subject": alert.subject, "cause": str(error), **alert.detail},
        )


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
