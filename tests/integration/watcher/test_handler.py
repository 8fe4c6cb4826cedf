"""The watcher as Lambda invokes it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import psycopg
import pytest

from scheduler_core.clock import utc_now
from scheduler_core.domain.errors import DatabaseUnavailableError
from tests.builders import job_row, seconds, store_jobs, store_merchant
from tests.contexts import a_context
from tests.receivers import Receiver, receiving
from tests.secret_store import SecretStore
from watcher import handler


def forget() -> None:
    """The next run reads its settings anew."""
    if handler._watcher.cache_info().currsize:
        handler._watcher()._database.close()
    handler._watcher.cache_clear()
    handler._settings.cache_clear()


@pytest.fixture
def lambda_api() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def environment(
    database_url: str, redis_url: str, lambda_api: Receiver, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    for name, value in {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "AWS_ENDPOINT_URL_LAMBDA": lambda_api.url,
        "WATCH_SECONDS": "0.2",
        "SERVICE_NAMESPACE": "TaskScheduler/test",
    }.items():
        monkeypatch.setenv(name, value)
    yield
    forget()


def test_a_lost_job_is_rescued_and_an_executor_woken(database_url: str, lambda_api: Receiver) -> None:
    lost: dict[str, Any] = {
        "status": "running",
        "attempt": 1,
        "next_run_at": None,
        "lease_expires_at": utc_now() - seconds(1),
    }
    [job] = store_jobs(database_url, store_merchant(database_url), now=utc_now(), **lost)
    assert handler.lambda_handler({}, a_context(1))["rescued"] == 1
    assert job_row(database_url, job)["status"] == "retrying"
    assert lambda_api.invoked()[0] == "executor"


def measured(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What one run wrote for CloudWatch: exactly one line."""
    [line] = [line for line in capsys.readouterr().out.splitlines() if '"CloudWatchMetrics"' in line]
    written: dict[str, Any] = json.loads(line)
    return written


def test_an_idle_run_is_one_pass_and_leaves_its_metrics_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert handler.lambda_handler({}, a_context())["passes"] == 1
    written = measured(capsys)
    [metrics] = written["_aws"]["CloudWatchMetrics"]
    assert (metrics["Namespace"], metrics["Dimensions"], written["service"]) == (
        "TaskScheduler/test",
        [["service"]],
        "watcher",
    )
    assert {each["Name"]: (each["Unit"], written[each["Name"]]) for each in metrics["Metrics"]} == {
        "OldestDueAgeSeconds": ("Seconds", [0.0]),
        "CompletedLastMinute": ("Count", [0.0]),
        "FailedLastMinute": ("Count", [0.0]),
        "JobsRescued": ("Count", [0.0]),
        "JobsExpired": ("Count", [0.0]),
        "AlertsSent": ("Count", [0.0]),
    }


def test_upkeep_that_breaks_is_logged_and_leaves_the_metrics_alone(
    database_url: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP FUNCTION add_partitions")
        connection.execute("REVOKE ALL ON alerts FROM scheduler_worker")
    store_jobs(database_url, store_merchant(database_url), now=utc_now() - seconds(100))
    assert handler.lambda_handler({}, a_context(1))["oldest_due_age_seconds"] > 90
    assert measured(capsys)["OldestDueAgeSeconds"][0] > 90
    said = [record.getMessage() for record in caplog.records if record.exc_info]
    assert said[:2] == ["alerts wait for the next pass", "upkeep waits for the next run"]


def test_what_could_not_be_seen_is_not_measured(
    database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_CONNECT_TIMEOUT_SECONDS", "1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    forget()
    with pytest.raises(DatabaseUnavailableError):
        handler.lambda_handler({}, a_context())
    written = measured(capsys)
    assert written["JobsRescued"] == [0.0]
    assert "OldestDueAgeSeconds" not in written
    assert "CompletedLastMinute" not in written


def test_an_alert_goes_to_its_topic_once_that_answers(
    database_url: str, secret_store: SecretStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SNS over the wire: first nobody is there, then moto."""
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    topic, inbox = topic_with_inbox(secret_store.url)
    store_jobs(database_url, store_merchant(database_url), now=utc_now() - seconds(100))

    def run(endpoint: str) -> int:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", endpoint)
        monkeypatch.setenv("ALERT_TOPIC_ARN", topic)
        forget()
        return int(handler.lambda_handler({}, a_context(1))["alerts"])

    assert run("http://127.0.0.1:1") == 0
    [said] = [record for record in caplog.records if "could not be sent" in record.getMessage()]
    assert "Could not connect" in said.__dict__["cause"]
    assert [run(secret_store.url), run(secret_store.url)] == [1, 0]
    [message] = inbox()
    assert message["Subject"] == "Task scheduler: oldest_due"
    assert json.loads(message["Message"])["waiting_seconds"] >= 100


def topic_with_inbox(url: str) -> tuple[str, Callable[[], list[dict[str, Any]]]]:
    """A topic's ARN, and what came to it."""
    sns, sqs = (boto3.client(name, region_name="eu-west-3", endpoint_url=url) for name in ("sns", "sqs"))
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def inbox() -> list[dict[str, Any]]:
        found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(each["Body"]) for each in found]

    return topic, inbox


def test_whoever_is_about_to_claim_gets_a_second_pass() -> None:
    assert handler.lambda_handler({"reason": "unwatched"}, a_context())["passes"] == 2
