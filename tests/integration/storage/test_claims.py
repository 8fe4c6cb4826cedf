"""Claim, heartbeat, record and rescue against a real PostgreSQL."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from dev import processes
from scheduler_core.domain.ids import milliseconds
from scheduler_core.domain.jobs import AttemptOutcome, ClaimedJob, HintGroup, Place
from scheduler_core.domain.lifecycle import JobStatus
from scheduler_core.domain.outcomes import Complete, DeliveryResult, Retry, Verdict, record, rescued
from scheduler_core.storage import claims
from scheduler_core.storage.database import Database, Role
from tests.builders import (
    NOW,
    ended_attempts,
    job_row,
    lease_expiry,
    new_id,
    random_lease_id,
    rows,
    seconds,
    store_jobs,
    store_merchant,
)

EXECUTOR = new_id()
LEASE = seconds(25)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, Role.WORKER)
    yield database
    database.close()


def claim(database: Database, merchant_id: UUID, job_ids: list[UUID], *, now: datetime = NOW) -> list[ClaimedJob]:
    with database.transaction() as connection:
        return claims.claim(
            connection,
            [(merchant_id.hex, j.hex) for j in job_ids],
            lease_id=random_lease_id(),
            now=now,
            due_before=now,
            lease=LEASE,
        )


def claim_once(database: Database, merchant_id: UUID, job_ids: list[UUID], lease_id: int) -> list[ClaimedJob]:
    """As an executor that asks again under the same lease where it heard no answer."""
    hints = [(merchant_id.hex, job_id.hex) for job_id in job_ids]
    with database.statement() as connection:
        return claims.claim(connection, hints, lease_id=lease_id, now=NOW, due_before=NOW, lease=LEASE)


def result(verdict: Verdict = Verdict.DONE, **more: Any) -> DeliveryResult:
    return DeliveryResult(verdict, NOW, NOW, **more)


def test_a_claim_starts_an_attempt_under_a_lease(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    [job_id] = store_jobs(database_url, merchant, payload='{"a": 1.10}')
    [job] = claim(database, merchant, [job_id])
    assert (job.id, job.attempt, job.due_at, job.payload) == (job_id, 1, NOW, '{"a": 1.10}')
    row = job_row(database_url, job_id)
    assert (row["status"], row["next_run_at"], row["lease_id"]) == ("running", None, job.lease_id)
    assert lease_expiry(database_url, job_id) == NOW + LEASE


def test_i2_a_second_claim_of_the_same_hint_gets_nothing(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    ids = store_jobs(database_url, merchant, 5)
    assert len(claim(database, merchant, [*ids, *ids])) == 5
    assert claim(database, merchant, ids) == []


def test_i2_a_claim_that_was_done_unheard_is_answered_when_it_is_asked_for_again(
    database: Database, database_url: str
) -> None:
    """Nor does the first claim anything more, should a server that hung do it only after the second."""
    merchant = store_merchant(database_url)
    ids = store_jobs(database_url, merchant, 5)
    [later] = store_jobs(database_url, merchant)
    lost = claim_once(database, merchant, ids, lease_id=7)
    assert sorted(claim_once(database, merchant, [*ids, later], lease_id=7)) == sorted(lost)
    assert {job_row(database_url, job_id)["attempt"] for job_id in ids} == {1}
    assert job_row(database_url, later)["status"] == "pending"
    with database.transaction() as connection:
        claims.complete(connection, [(lost[0], result())], now=NOW, executor_id=EXECUTOR)
    assert sorted(claim_once(database, merchant, ids, lease_id=7)) == sorted(lost[1:])


def test_i2_what_was_rescued_meanwhile_is_not_answered_again(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    ids = store_jobs(database_url, merchant, 2)
    claimed = claim_once(database, merchant, ids, lease_id=7)
    late = NOW + LEASE
    with database.transaction() as connection:
        leases = claims.lock_expired_leases_across_merchants(connection, now=late, most=10)
        [lost] = claims.lock_lost_across_merchants(connection, leases, most=1)
        claims.record(connection, [rescued(late, lost, 0.0)], now=late, executor_id=EXECUTOR)
        claims.end_rescued_leases_across_merchants(connection, leases)
    again = claim_once(database, merchant, ids, lease_id=7)
    assert again == [job for job in claimed if job.id != lost.id]


def test_i2_racing_claims_share_the_jobs_without_overlap(database_url: str) -> None:
    merchant = store_merchant(database_url)
    ids = store_jobs(database_url, merchant, 300)
    got: list[list[ClaimedJob]] = []

    def race() -> None:
        database = Database(database_url, Role.WORKER)
        got.extend(claim(database, merchant, ids[start : start + 50]) for start in range(0, 300, 50))
        database.close()

    racers = [threading.Thread(target=race) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    claimed = [job.id for batch in got for job in batch]
    assert sorted(claimed) == sorted(ids)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "expired"])
def test_i2_an_ended_job_is_not_claimed(database: Database, database_url: str, status: str) -> None:
    merchant = store_merchant(database_url)
    ids = store_jobs(database_url, merchant, status=status, next_run_at=None, completed_at=NOW)
    assert claim(database, merchant, ids) == []


def test_a_job_that_is_not_due_yet_is_not_claimed(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    ids = store_jobs(database_url, merchant, next_run_at=NOW + seconds(1))
    assert claim(database, merchant, ids) == []


def test_a_hint_with_the_wrong_merchant_claims_nothing(database: Database, database_url: str) -> None:
    ids = store_jobs(database_url, store_merchant(database_url))
    assert claim(database, store_merchant(database_url), ids) == []


def test_a_completed_attempt_is_recorded_with_its_execution_and_the_minutes_rate(
    database: Database, database_url: str
) -> None:
    merchant = store_merchant(database_url)
    ids = store_jobs(database_url, merchant, 3)
    jobs = claim(database, merchant, ids)
    completions = [(job, result(http_status=200)) for job in jobs]
    with database.transaction() as connection:
        assert claims.complete(connection, completions, now=NOW, executor_id=EXECUTOR) == 3
    assert {job_row(database_url, i)["status"] for i in ids} == {"completed"}
    assert ended_attempts(database_url) == ["completed"] * 3
    assert [r["completed"] for r in rows(database_url, "SELECT completed FROM throughput")] == [3]


def test_a_completion_leaves_what_the_long_way_leaves(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    # Its first attempt failed, so there is an error to forget and a retry to keep.
    jobs = claim(
        database, merchant, store_jobs(database_url, merchant, 2, status="retrying", retries=1, last_error="x")
    )
    answer = result(http_status=201, response="thanks")
    with database.transaction() as connection:
        assert claims.complete(connection, [(jobs[0], answer)], now=NOW, executor_id=EXECUTOR) == 1
        records = [record(job, Complete(), answer) for job in claims.running(connection, jobs)]
        assert claims.record(connection, records, now=NOW, executor_id=EXECUTOR) == records
    short, long = (job_row(database_url, job.id) for job in jobs)
    assert short | {"id": None, "lease_id": None} == long | {"id": None, "lease_id": None}
    assert (short["status"], short["retries"], short["response"]) == ("completed", 1, "thanks")


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_what_waits_for_a_row_is_done_when_it_is_free(database_url: str, plans: str) -> None:
    """A producer's change, or upkeep's, holds rows for a moment while they are recorded, or claimed.

    Guards against a defect of PostgreSQL 18: partitions pruned both when a generic plan starts and while it runs lose
    the rows it had to wait for.
    """
    merchant = store_merchant(database_url)
    store_jobs(database_url, merchant, 6_000, status="completed", next_run_at=None, completed_at=NOW)
    ids = store_jobs(database_url, merchant, 20)
    worker, other = Database(database_url, Role.WORKER), Database(database_url, Role.WORKER)
    with worker.transaction() as connection:
        connection.prepare_threshold = 0
        connection.execute(f"SET plan_cache_mode = {plans}".encode())
    claimed: list[ClaimedJob] = []
    written: list[int] = []

    def record_all() -> None:
        with worker.transaction() as connection:
            completions = [(job, result(http_status=200)) for job in claimed[:10]]
            written.append(claims.complete(connection, completions, now=NOW, executor_id=EXECUTOR))
            records = [record(job, Complete(), result()) for job in claims.running(connection, claimed[10:])]
            written.append(len(claims.record(connection, records, now=NOW, executor_id=EXECUTOR)))

    with other.transaction() as connection:
        connection.execute("UPDATE jobs SET priority = 7 WHERE id = ANY (%s)", (ids,))
        waiting = threading.Thread(target=lambda: claimed.extend(claim(worker, merchant, ids)))
        waiting.start()
        wait_for_a_lock(database_url)
    waiting.join()
    assert len(claimed) == 20
    with other.transaction() as connection:
        connection.execute("UPDATE jobs SET priority = 8 WHERE id = ANY (%s)", (ids,))
        waiting = threading.Thread(target=record_all)
        waiting.start()
        wait_for_a_lock(database_url)
    waiting.join()
    assert written == [10, 10]
    worker.close()
    other.close()


def wait_for_a_lock(database_url: str) -> None:
    """Until somebody waits for a row."""
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    assert processes.wait_until(lambda: bool(rows(database_url, waits)), 10)


def test_i3_a_late_result_does_not_overwrite_a_newer_attempt(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    [job_id] = store_jobs(database_url, merchant)
    [late] = claim(database, merchant, [job_id])
    with database.transaction() as connection:
        leases = claims.lock_expired_leases_across_merchants(connection, now=NOW + seconds(26), most=10)
        [lost] = claims.lock_lost_across_merchants(connection, leases, most=10)
        claims.record(connection, [rescued(NOW + seconds(26), lost, 0.0)], now=NOW + seconds(26), executor_id=EXECUTOR)
    [newer] = claim(database, merchant, [job_id], now=NOW + seconds(30))
    assert newer.attempt == 2
    with database.transaction() as connection:
        assert claims.running(connection, [late]) == []
        assert claims.complete(connection, [(late, result())], now=NOW, executor_id=EXECUTOR) == 0
        late_failure = record(lost, Retry(NOW, "boom"), result(Verdict.RETRYABLE))
        assert claims.record(connection, [late_failure], now=NOW, executor_id=EXECUTOR) == []
    row = job_row(database_url, job_id)
    assert (row["status"], row["attempt"]) == ("running", 2)
    assert [r["outcome"] for r in rows(database_url, "SELECT outcome FROM executions")] == ["lost"]


def test_i3_a_cancelled_jobs_result_is_refused(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    [job_id] = store_jobs(database_url, merchant)
    [job] = claim(database, merchant, [job_id])
    with database.transaction() as connection:
        [running] = claims.running(connection, [job])
        connection.execute(
            "UPDATE jobs SET status = 'cancelled', dead = true, lease_id = NULL, completed_at = %s WHERE id = %s",
            (NOW, job_id),
        )
    with database.transaction() as connection:
        assert claims.extend_leases(connection, [job], now=NOW, lease=LEASE) == set()
        assert claims.complete(connection, [(job, result())], now=NOW, executor_id=EXECUTOR) == 0
        assert claims.record(connection, [record(running, Complete(), result())], now=NOW, executor_id=EXECUTOR) == []
    assert job_row(database_url, job_id)["status"] == "cancelled"


def test_a_retry_waits_and_remembers_its_error(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    [job_id] = store_jobs(database_url, merchant)
    [job] = claim(database, merchant, [job_id])
    at = NOW + seconds(7)
    with database.transaction() as connection:
        [running] = claims.running(connection, [job])
        written = record(running, Retry(at, "boom"), result(Verdict.RETRYABLE))
        claims.record(connection, [written], now=NOW, executor_id=EXECUTOR)
    row = job_row(database_url, job_id)
    assert (row["status"], row["next_run_at"], row["retries"], row["last_error"]) == ("retrying", at, 1, "boom")
    assert row["completed_at"] is None


def test_heartbeats_prolong_only_what_is_held(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    ids = store_jobs(database_url, merchant, 2)
    jobs = claim(database, merchant, ids)
    stale = jobs[1]._replace(attempt=9)
    with database.transaction() as connection:
        still = claims.extend_leases(connection, [jobs[0], stale], now=NOW + seconds(10), lease=LEASE)
    assert still == {(jobs[0].id, 1)}
    assert lease_expiry(database_url, jobs[0].id) == NOW + seconds(35)


def test_only_expired_leases_are_lost_and_each_is_locked_once(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    ids = store_jobs(database_url, merchant, 4)
    batches = claim(database, merchant, ids[:2]), claim(database, merchant, ids[2:])
    other = Database(database_url, Role.WORKER)
    late = NOW + LEASE
    with database.transaction() as one, other.transaction() as two:
        assert claims.lock_expired_leases_across_merchants(one, now=late - seconds(1), most=10) == []
        [mine] = claims.lock_expired_leases_across_merchants(one, now=late, most=1)
        [theirs] = claims.lock_expired_leases_across_merchants(two, now=late, most=10)
        assert {mine, theirs} == {batch[0].lease_id for batch in batches}
        lost = claims.lock_lost_across_merchants(one, [mine], most=10)
    assert [job.id for job in lost] == [job.id for batch in batches for job in batch if job.lease_id == mine]
    other.close()


def test_a_lease_ends_with_its_last_job_and_not_before(database: Database, database_url: str) -> None:
    """A page may hold less than a lease does: the rest is found the next time."""
    merchant = store_merchant(database_url)
    claim(database, merchant, store_jobs(database_url, merchant, 3))
    late = NOW + LEASE
    for found in (2, 1):
        with database.transaction() as connection:
            [lease] = claims.lock_expired_leases_across_merchants(connection, now=late, most=10)
            lost = claims.lock_lost_across_merchants(connection, [lease], most=2)
            claims.record(connection, [rescued(late, job, 0.0) for job in lost], now=late, executor_id=EXECUTOR)
            claims.end_rescued_leases_across_merchants(connection, [lease])
        assert len(lost) == found
    assert rows(database_url, "SELECT * FROM leases") == []


def test_what_is_being_recorded_is_not_rescued_and_its_lease_stays(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    jobs = claim(database, merchant, store_jobs(database_url, merchant, 2))
    other = Database(database_url, Role.WORKER)
    with database.transaction() as executor, other.transaction() as watcher:
        claims.complete(executor, [(jobs[0], result())], now=NOW, executor_id=EXECUTOR)
        leases = claims.lock_expired_leases_across_merchants(watcher, now=NOW + LEASE, most=10)
        assert claims.lock_lost_across_merchants(watcher, leases, most=10) == claims.running(watcher, jobs[1:])
        claims.end_rescued_leases_across_merchants(watcher, leases)
    assert lease_expiry(database_url, jobs[1].id) == NOW + LEASE
    other.close()


def test_a_heartbeat_that_comes_after_the_rescue_holds_nothing(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    [job] = claim(database, merchant, store_jobs(database_url, merchant))
    late, beats = NOW + LEASE, []
    other = Database(database_url, Role.WORKER)

    def beat() -> None:
        with other.transaction() as connection:
            beats.append(claims.extend_leases(connection, [job], now=late, lease=LEASE))

    with database.transaction() as connection:
        leases = claims.lock_expired_leases_across_merchants(connection, now=late, most=10)
        beating = threading.Thread(target=beat)
        beating.start()
        wait_for_a_lock(database_url)
        [lost] = claims.running(connection, [job])
        claims.record(connection, [rescued(late, lost, 0.0)], now=late, executor_id=EXECUTOR)
        claims.end_rescued_leases_across_merchants(connection, leases)
    beating.join()
    assert beats == [set()]
    other.close()


def test_whatever_is_written_last_of_a_lease_ends_it(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    [done], [failed], [gone], _ = (claim(database, merchant, store_jobs(database_url, merchant)) for _ in range(4))
    with database.transaction() as connection:
        completions = [(done, result())]
        claims.complete(connection, completions, now=NOW, executor_id=EXECUTOR, leases=[done.lease_id])
        records = [record(job, Complete(), result()) for job in claims.running(connection, [failed])]
        claims.record(connection, records, now=NOW, executor_id=EXECUTOR, leases=[failed.lease_id])
        claims.complete(connection, [], now=NOW, executor_id=EXECUTOR, leases=[gone.lease_id])
    assert len(rows(database_url, "SELECT * FROM leases")) == 1


def test_the_due_scan_pages_in_order_and_leaves_merchants_out(database: Database, database_url: str) -> None:
    one, two = store_merchant(database_url), store_merchant(database_url)
    ours = sorted(store_jobs(database_url, one, 5, next_run_at=NOW))
    [theirs] = store_jobs(database_url, two, next_run_at=NOW - seconds(1))
    store_jobs(database_url, one, next_run_at=NOW + seconds(100))
    start = Place(NOW - seconds(1_000), UUID(int=0))
    with database.transaction() as connection:
        first = claims.due_page_across_merchants(connection, after=start, until=NOW + seconds(90), most=4)
        assert first.end is not None
        second = claims.due_page_across_merchants(connection, after=first.end, until=NOW + seconds(90), most=4)
        others = claims.due_page_across_merchants(connection, after=start, until=NOW, most=9, skipped=[one])
        none = claims.due_page_across_merchants(connection, after=Place(NOW, UUID(int=2**128 - 1)), until=NOW, most=4)
    assert {(group.merchant_id, *group.job_ids) for group in first.groups} == {
        (two, theirs.hex),
        (one, *(job.hex for job in ours[:3])),
    }
    assert (second.size, second.end) == (2, Place(NOW, ours[4]))
    assert others.groups == [HintGroup(two, 0, [theirs.hex], [milliseconds(NOW) - 1_000])]
    assert none == ((), None)


def test_the_due_scan_keeps_priorities_apart_and_due_times_in_order(database: Database, database_url: str) -> None:
    """To the millisecond in which each has come."""
    merchant = store_merchant(database_url)
    late, early = (store_jobs(database_url, merchant, next_run_at=NOW + seconds(by))[0] for by in (0.0021, -7))
    [urgent] = store_jobs(database_url, merchant, priority=9)
    now_ms = milliseconds(NOW)
    start = Place(datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))
    with database.transaction() as connection:
        page = claims.due_page_across_merchants(connection, after=start, until=NOW + seconds(9), most=9)
    assert sorted(page.groups, key=lambda group: group.priority) == [
        HintGroup(merchant, 0, [early.hex, late.hex], [now_ms - 7_000, now_ms + 3]),
        HintGroup(merchant, 9, [urgent.hex], [now_ms]),
    ]
    assert page.end == Place(NOW + seconds(0.0021), late)


def test_a_page_that_postgresql_sorts_by_merchant_is_in_the_order_of_due_times(
    database: Database, database_url: str
) -> None:
    """As it may where it deems that cheaper than to hash."""
    due: dict[UUID, dict[str, int]] = {store_merchant(database_url): {} for _ in range(3)}
    for number in range(300):
        merchant = [*due][number * 7 % 3]
        [job] = store_jobs(database_url, merchant, next_run_at=NOW - seconds(number * 37 % 100))
        due[merchant][job.hex] = milliseconds(NOW) - number * 37 % 100 * 1_000
    start = Place(datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))
    with database.transaction() as connection:
        connection.execute("SET LOCAL enable_hashagg = off")
        page = claims.due_page_across_merchants(connection, after=start, until=NOW, most=500)
    assert page.size == 300
    for group in page.groups:
        assert [*group.due_ms] == sorted(group.due_ms)
        assert dict(zip(group.job_ids, group.due_ms, strict=True)) == due[group.merchant_id]
    last = max(job for jobs in due.values() for job, at in jobs.items() if at == milliseconds(NOW))
    assert page.end == Place(NOW, UUID(hex=last))


def test_waiting_jobs_expire_and_running_ones_do_not(database: Database, database_url: str) -> None:
    merchant = store_merchant(database_url)
    [waiting, running] = store_jobs(database_url, merchant, 2, expires_at=NOW + seconds(5))
    claim(database, merchant, [running])
    with database.transaction() as connection:
        assert claims.expire_waiting_across_merchants(connection, now=NOW + seconds(4), most=9) == []
        ended = claims.expire_waiting_across_merchants(connection, now=NOW + seconds(5), most=9)
    assert ended == [(merchant, waiting)]
    assert job_row(database_url, waiting)["status"] == "expired"
    assert job_row(database_url, running)["status"] == "running"


def test_the_enums_of_the_database_are_those_of_the_code(database_url: str) -> None:
    found = rows(
        database_url,
        "SELECT typname, array_agg(enumlabel::text ORDER BY enumsortorder) AS labels FROM pg_enum "
        "JOIN pg_type ON pg_type.oid = enumtypid GROUP BY typname",
    )
    labels = {row["typname"]: set(row["labels"]) for row in found}
    assert labels["job_status"] == set(JobStatus)
    assert labels["attempt_outcome"] == set(AttemptOutcome)
    assert labels["schedule_type"] == {"one_time", "recurring", "polling"}
