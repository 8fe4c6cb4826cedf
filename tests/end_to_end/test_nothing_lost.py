"""Everything that can crash crashes while due jobs are delivered, and no job is lost."""

import pytest

from bench.survive import SurvivePlan, survive

# Leases as short as the settings allow, so that a crash is noticed within seconds and the test ends within a minute.
SHORT_LEASES = {"LEASE_SECONDS": "3", "HEARTBEAT_SECONDS": "0.5", "WATCH_SECONDS": "0.5"}


@pytest.mark.timeout(180)
def test_no_job_is_lost_through_crashes_of_every_part() -> None:
    """I1, I3, I4: three kills of the executor, two flushes and a restart of Redis, a restart of PostgreSQL."""
    plan = SurvivePlan(jobs=1_000, receiver_delay_ms=4_000, patience_seconds=90, environment=SHORT_LEASES)
    verdict = survive(plan, lambda *_: None)
    assert verdict.by_status == {"completed": 1_000}
    assert verdict.never_delivered == 0
    assert verdict.unexplained_duplicates == 0
    assert len(verdict.faults) == 7
