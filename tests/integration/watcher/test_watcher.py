"""The watcher rescues, expires, alerts once, wakes executors, and guards only as long as it is needed."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from scheduler_core.domain.jobs import MAX_RESCUES
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.services.announcing import Announcer
from scheduler_core.settings import QueueSettings
from scheduler_core.storage.database import Database, Role
from tests.builders import NOW, ended_attempts, job_row, new_id, rows, seconds, store_jobs, store_merchant
from watcher.alerts import AlertNotSentError, Alerts
from watcher.job_rescuer import JobRescuer
from watcher.watcher import Report, Watcher


class Invocations(list[str]):
    """Remembers who was invoked."""

    def invoke_async(self, function: str, payload: dict[str, object] | None = None) -> None:
        self.append(function)


class Published(list[dict[str, Any]]):
    """A topic that remembers, and fails as often as it is told to."""

    failures = 0

    def publish(self, subject: str, detail: dict[str, Any]) -> None:
        if self.failures:
            self.failures -= 1
            raise AlertNotSentError("the topic is away")
        self.append(detail)


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = NOW

    def clock(self) -> datetime:
        return self.now

    def sleep(self, duration: float) -> None:
        self.now += seconds(duration)

    def remaining(self) -> float:
        return 60 - (self.now - NOW).total_seconds()


class Stage:
    """A watcher and what surrounds it."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.url = database_url
        self.time, self.invocations, self.published = Time(), Invocations(), Published()
        self.queue = ReadySet.connect(QueueSettings(redis_url=redis_url))
        self.database = Database(database_url, Role.WORKER)
        self.merchant = store_merchant(database_url)

    def watcher(self) -> Watcher:
        announcer = Announcer(self.queue, self.invocations, executor_function="executor", horizon_seconds=90)
        rescuer = JobRescuer(
            self.database, announcer, watcher_id=new_id(), page_size=10, max_pages=5, jitter=lambda: 0.5
        )
        return Watcher(
            self.database,
            self.queue,
            announcer,
            rescuer,
            Alerts(self.database, self.published, oldest_due=timedelta(seconds=60)),
            watcher_id=str(new_id()),
            watch=timedelta(seconds=5),
            retention=timedelta(days=30),
            page_size=10,
            max_pages=5,
        )

    def run(self) -> dict[str, Any]:
        report = Report()
        self.watcher().run(self.time.clock, self.time.sleep, self.time.remaining, report)
        return report.as_dict()

    def running_jobs(self, count: int = 1, **columns: Any) -> list[Any]:
        given: dict[str, Any] = {
            "status": "running",
            "attempt": 1,
            "next_run_at": None,
            "lease_expires_at": NOW + seconds(20),
        }
        return store_jobs(self.url, self.merchant, count, **(given | columns))


@pytest.fixture
def stage(database_url: str, redis_url: str) -> Iterator[Stage]:
    stage = Stage(database_url, redis_url)
    yield stage
    stage.queue.close()
    stage.database.close()


def test_an_idle_installation_costs_one_pass(stage: Stage) -> None:
    store_jobs(stage.url, stage.merchant, next_run_at=NOW + seconds(500))
    report = stage.run()
    assert (report["passes"], stage.time.now, stage.invocations) == (1, NOW, [])


def test_i4_a_lost_job_is_tried_again_within_the_minute_of_its_crash(stage: Stage) -> None:
    [job] = stage.running_jobs()
    report = stage.run()
    row = job_row(stage.url, job)
    assert (row["status"], row["rescues"], row["retries"]) == ("retrying", 1, 0)
    assert row["next_run_at"] - NOW <= seconds(26)
    assert report["rescued"] == 1
    assert stage.invocations[0] == "executor"
    assert ended_attempts(stage.url) == ["lost"]


def test_more_lost_jobs_than_a_page_are_rescued_page_by_page(stage: Stage) -> None:
    stage.running_jobs(35, lease_expires_at=NOW)
    assert stage.run()["rescued"] == 35


def test_a_job_that_keeps_losing_its_executor_becomes_a_dead_letter(stage: Stage) -> None:
    [job] = stage.running_jobs(lease_expires_at=NOW, rescues=MAX_RESCUES)
    stage.run()
    assert job_row(stage.url, job)["status"] == "failed"


def test_a_job_that_is_still_held_is_left_alone(stage: Stage) -> None:
    [job] = stage.running_jobs(lease_expires_at=NOW + seconds(500))
    stage.run()
    assert job_row(stage.url, job)["status"] == "running"


def test_waiting_jobs_expire(stage: Stage) -> None:
    [job] = store_jobs(stage.url, stage.merchant, next_run_at=NOW + seconds(100), expires_at=NOW)
    assert stage.run()["expired"] == 1
    assert job_row(stage.url, job)["status"] == "expired"


def test_an_executor_is_woken_for_overdue_jobs_when_none_is_awake(stage: Stage) -> None:
    store_jobs(stage.url, stage.merchant, next_run_at=NOW - seconds(3))
    assert stage.run()["executors_invoked"] >= 1
    assert "executor" in stage.invocations


def test_two_watchers_rescue_each_job_once(stage: Stage) -> None:
    stage.running_jobs(8, lease_expires_at=NOW)
    first, second = stage.run(), stage.run()
    assert (first["rescued"], second["rescued"]) == (8, 0)


def test_a_second_watcher_does_not_stay_beside_the_first(stage: Stage) -> None:
    stage.running_jobs(lease_expires_at=NOW + seconds(500))
    assert stage.queue.take_duty("watch", "the first", seconds=100)
    assert stage.run()["passes"] == 1


def test_dead_letters_are_alerted_once_an_hour_even_if_the_first_try_fails(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.running_jobs(lease_expires_at=NOW, rescues=MAX_RESCUES)
    stage.published.failures = 1
    assert stage.run()["alerts"] == 0
    assert stage.run()["alerts"] == 1
    assert stage.run()["alerts"] == 0
    assert [(alert["kind"], alert["failed"]) for alert in stage.published] == [("dead_letters", 1)]
    [said] = [record for record in caplog.records if "could not be sent" in record.getMessage()]
    assert said.__dict__["cause"] == "the topic is away"


def test_a_topic_that_is_away_costs_nobody_the_guard_and_is_said_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    [held] = stage.running_jobs(lease_expires_at=NOW + seconds(12))
    stage.running_jobs(lease_expires_at=NOW, rescues=MAX_RESCUES)
    stage.published.failures = 1_000
    report = stage.run()
    assert report["passes"] > 3
    assert job_row(stage.url, held)["status"] == "retrying"
    assert len([record for record in caplog.records if "could not be sent" in record.getMessage()]) == 1
    assert rows(stage.url, "SELECT * FROM alerts") == []


def test_what_failed_just_before_the_hour_is_alerted_after_it(stage: Stage) -> None:
    with psycopg.connect(stage.url) as connection:
        connection.execute(
            "INSERT INTO throughput (merchant_id, minute, executor_id, failed) VALUES (%s, %s, %s, 2)",
            (stage.merchant, NOW - timedelta(minutes=1), new_id()),
        )
    stage.run()
    stage.run()
    assert [(alert["kind"], alert["failed"]) for alert in stage.published] == [("dead_letters", 2)]


def test_the_last_whole_minute_is_measured_across_merchants_and_executors(stage: Stage) -> None:
    other = store_merchant(stage.url)
    with psycopg.connect(stage.url) as connection:
        for merchant, minutes, completed, failed in (
            (stage.merchant, 1, 5, 1), (other, 1, 7, 0), (stage.merchant, 1, 1, 2), (other, 0, 99, 9), (other, 2, 99, 9)
        ):  # fmt: skip
            connection.execute(
                "INSERT INTO throughput (merchant_id, minute, executor_id, completed, failed) "
                "VALUES (%s, %s, %s, %s, %s)",
                (merchant, NOW - timedelta(minutes=minutes), new_id(), completed, failed),
            )
    report = stage.run()
    assert (report["completed_last_minute"], report["failed_last_minute"]) == (13, 3)


def test_a_job_that_waits_too_long_is_alerted_once(stage: Stage) -> None:
    store_jobs(stage.url, stage.merchant, next_run_at=NOW - seconds(100))
    stage.run()
    stage.run()
    assert [alert["kind"] for alert in stage.published] == ["oldest_due"]


def test_upkeep_that_cannot_be_done_does_not_end_the_guard(stage: Stage) -> None:
    [job] = stage.running_jobs(lease_expires_at=NOW + seconds(12))
    with psycopg.connect(stage.url) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtext('scheduler.partitions'))")
        assert stage.run()["partitions_made"] == 0
        other.rollback()
    assert job_row(stage.url, job)["status"] == "retrying"
