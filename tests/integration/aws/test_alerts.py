"""The watcher's alerts, from the database through SNS to a subscriber's queue."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler_core.clock import utc_now
from scheduler_core.domain.jobs import MAX_RESCUES
from scheduler_core.storage.database import Database, Role
from tests.builders import rows, seconds, store_jobs, store_merchant
from tests.contexts import a_context
from tests.emulators import Emulator, Queue, unique
from tests.receivers import receiving
from watcher import alerts, handler

MINUTE = seconds(60)


@pytest.fixture
def subscriber(aws: Emulator) -> tuple[str, Queue]:
    """A topic's ARN, and a queue that hears what is published there."""
    queue, sns = aws.queue(), aws.client("sns")
    topic: str = sns.create_topic(Name=unique("alerts"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    return topic, queue


@pytest.fixture
def watching(
    database_url: str, redis_url: str, subscriber: tuple[str, Queue], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Queue]:
    """The watcher as it is deployed, with the topic in its environment."""
    topic, queue = subscriber
    with receiving() as lambda_api:
        for name, value in {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "AWS_ENDPOINT_URL_LAMBDA": lambda_api.url,
            "ALERT_TOPIC_ARN": topic,
            "ALERT_OLDEST_DUE_SECONDS": "5",
            "WATCH_SECONDS": "0.2",
        }.items():
            monkeypatch.setenv(name, value)
        handler._settings.cache_clear()
        handler._watcher.cache_clear()
        yield queue
        handler._watcher()._database.close()
        handler._watcher.cache_clear()
        handler._settings.cache_clear()


def doomed(database_url: str, count: int) -> str:
    """`count` jobs of a fresh merchant that the watcher will find lost once too often; answers the merchant's id."""
    merchant, now = store_merchant(database_url), utc_now()
    lost: dict[str, Any] = {"status": "running", "attempt": 6, "rescues": MAX_RESCUES, "next_run_at": None}
    store_jobs(database_url, merchant, count, now=now, **lost, lease_expires_at=now - seconds(1))
    return str(merchant)


def told(messages: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Subject and detail of each alert."""
    envelopes = [json.loads(message["Body"]) for message in messages]
    return [(envelope["Subject"], json.loads(envelope["Message"])) for envelope in envelopes]


def test_dead_letters_reach_the_subscriber_once(database_url: str, watching: Queue) -> None:
    merchant = doomed(database_url, 3)
    assert handler.lambda_handler({}, a_context(1))["alerts"] == 1
    [(subject, detail)] = told(watching.messages())
    assert subject == "Task scheduler: dead_letters"
    assert (detail["kind"], detail["subject"], detail["failed"]) == ("dead_letters", merchant, 3)
    assert handler.lambda_handler({}, a_context(1))["alerts"] == 0
    assert watching.is_empty()


def test_each_merchant_has_an_alert_of_its_own(database_url: str, watching: Queue) -> None:
    merchants = {doomed(database_url, 1) for _ in range(2)}
    assert handler.lambda_handler({}, a_context(1))["alerts"] == 2
    assert {detail["subject"] for _, detail in told(watching.messages(2))} == merchants


def test_a_job_that_waits_too_long_reaches_the_subscriber(database_url: str, watching: Queue) -> None:
    store_jobs(database_url, store_merchant(database_url), now=utc_now() - MINUTE)
    assert handler.lambda_handler({}, a_context(1))["alerts"] == 1
    [(subject, detail)] = told(watching.messages())
    assert (subject, detail["subject"]) == ("Task scheduler: oldest_due", "installation")
    assert detail["waiting_seconds"] >= 60


def test_an_alert_that_could_not_be_sent_is_sent_by_the_next_look(
    database_url: str, aws: Emulator, subscriber: tuple[str, Queue]
) -> None:
    topic, queue = subscriber
    now, database = utc_now(), Database(database_url, Role.WORKER)

    def look(arn: str) -> int:
        return alerts.Alerts(database, alerts.SnsTopic(arn), oldest_due=MINUTE).look(now, now - 2 * MINUTE)

    try:
        assert look(aws.arn("sns", "nowhere")) == 0
        assert rows(database_url, "SELECT 1 FROM alerts") == []
        assert look(topic) == 1
        assert len(queue.messages()) == 1
    finally:
        database.close()
