"""A job's life under random interleavings of everything that may happen to it, against a real PostgreSQL.

The model knows the status and the attempt; the database must agree after every step, whoever comes late.
"""

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from scheduler_core.domain.errors import StaleTransitionError
from scheduler_core.domain.jobs import MAX_RESCUES, ClaimedJob
from scheduler_core.domain.lifecycle import TERMINAL, Event, JobStatus, allows
from scheduler_core.domain.outcomes import DeliveryResult, Verdict, decide, record, rescued
from scheduler_core.storage import claims, jobs
from scheduler_core.storage.database import Database, Role
from tests.builders import NOW, new_id, random_lease_id, store_jobs, store_merchant

LEASE = timedelta(seconds=25)
WATCHER = new_id()
_LOOK = b"""
SELECT *, (SELECT count(*) FROM executions WHERE job_id = %(id)s) + (status = 'completed')::int AS kept,
    (SELECT expires_at FROM leases WHERE leases.id = jobs.lease_id) AS held_until
FROM jobs WHERE id = %(id)s
"""


class Life(RuleBasedStateMachine):
    """One job, its executors, its watcher and its producer."""

    url: str
    worker: Database
    api: Database
    eyes: psycopg.Connection[dict[str, Any]]

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = NOW
        self.merchant = store_merchant(self.url)
        [self.job_id] = store_jobs(self.url, self.merchant, max_retries=2)
        self.status, self.attempt, self.ended_attempts = JobStatus.PENDING, 0, 0
        self.held: list[ClaimedJob] = []
        """Every claim that was ever made, by executors that may be alive or not."""

    @rule(step=st.floats(0, 40))
    def time_passes(self, step: float) -> None:
        self.now += timedelta(seconds=step)

    @rule()
    def an_executor_claims(self) -> None:
        due = self.row()["next_run_at"]
        with self.worker.transaction() as connection:
            hint = (self.merchant.hex, self.job_id.hex)
            claimed = claims.claim(
                connection, [hint, hint], lease_id=random_lease_id(), now=self.now, due_before=self.now, lease=LEASE
            )
        may = allows(Event.CLAIM, self.status) and due is not None and due <= self.now
        assert len(claimed) == int(may)
        if may:
            self.status, self.attempt = JobStatus.RUNNING, self.attempt + 1
            assert claimed[0].attempt == self.attempt
            self.held.append(claimed[0])

    @precondition(lambda self: self.held)
    @rule(data=st.data(), verdict=st.sampled_from([Verdict.DONE, Verdict.RETRYABLE, Verdict.PERMANENT]))
    def an_executor_reports(self, data: st.DataObject, verdict: Verdict) -> None:
        """Any executor that ever held the job may report, however late (I3)."""
        job = data.draw(st.sampled_from(self.held))
        result = DeliveryResult(verdict, self.now, self.now)
        with self.worker.transaction() as connection:
            if verdict is Verdict.DONE:
                ended = [(job, result)]
                status = JobStatus.COMPLETED
                accepted = claims.complete(connection, ended, now=self.now, executor_id=WATCHER)
            else:
                running = claims.running(connection, [job])
                records = [record(each, decide(self.now, each, result, 0.5), result) for each in running]
                status = records[0].status if records else self.status
                accepted = len(claims.record(connection, records, now=self.now, executor_id=WATCHER))
        current = self.status is JobStatus.RUNNING and job.attempt == self.attempt
        assert bool(accepted) == current
        if current:
            self.status = status
            self.ended_attempts += 1

    @rule()
    def the_watcher_rescues(self) -> None:
        row = self.row()
        with self.worker.transaction() as connection:
            leases = claims.lock_expired_leases_across_merchants(connection, now=self.now, most=1_000)
            lost = claims.lock_lost_across_merchants(connection, leases, most=1_000)
            records = [rescued(self.now, job, 0.5) for job in lost]
            claims.record(connection, records, now=self.now, executor_id=WATCHER)
            claims.end_rescued_leases_across_merchants(connection, leases)
        expired = self.status is JobStatus.RUNNING and row["held_until"] <= self.now
        assert (self.job_id in {job.id for job in lost}) == expired
        if expired:
            self.status = JobStatus.FAILED if row["rescues"] >= MAX_RESCUES else JobStatus.RETRYING
            self.ended_attempts += 1

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def an_executor_beats(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.held))
        with self.worker.transaction() as connection:
            still = claims.extend_leases(connection, [job], now=self.now, lease=LEASE)
        assert bool(still) == (self.status is JobStatus.RUNNING and job.attempt == self.attempt)

    @rule()
    def the_producer_cancels(self) -> None:
        was_running = self.status is JobStatus.RUNNING
        if self.ask(Event.CANCEL, jobs.cancel):
            self.status = JobStatus.CANCELLED
            self.ended_attempts += was_running

    @rule()
    def the_producer_redrives(self) -> None:
        if self.ask(Event.REDRIVE, jobs.redrive):
            self.status = JobStatus.PENDING

    @rule()
    def the_producer_runs_it_now(self) -> None:
        self.ask(Event.RUN_NOW, jobs.run_now)

    @invariant()
    def the_database_agrees(self) -> None:
        row = self.row()
        assert (row["status"], row["attempt"]) == (self.status, self.attempt)
        assert (row["completed_at"] is not None) == (self.status in TERMINAL)
        assert row["kept"] == self.ended_attempts  # one row per attempt, none twice

    def row(self) -> dict[str, Any]:
        """The job as it is stored, with the number of its executions."""
        row = self.eyes.execute(_LOOK, {"id": self.job_id}).fetchone()
        assert row is not None
        return row

    def ask(self, event: Event, call: Any) -> bool:
        """Ask for something as the producer; whether it was allowed must be what the state machine says."""
        try:
            with self.api.of_merchant(self.merchant) as connection:
                call(connection, self.merchant, self.job_id, self.now)
        except StaleTransitionError:
            assert not allows(event, self.status)
            return False
        assert allows(event, self.status)
        return True


@pytest.mark.timeout(240)
def test_i2_i3_i4_every_interleaving_keeps_to_the_state_machine(database_url: str) -> None:
    Life.url, Life.worker, Life.api = (
        database_url,
        Database(database_url, Role.WORKER),
        Database(database_url, Role.API),
    )
    Life.eyes = psycopg.connect(database_url, autocommit=True, row_factory=psycopg.rows.dict_row)
    try:
        run_state_machine_as_test(
            Life,
            settings=settings(
                max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
    finally:
        Life.worker.close()
        Life.api.close()
        Life.eyes.close()
