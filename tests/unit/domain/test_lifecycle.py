"""The state machine: no way out of it, no way around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.domain.lifecycle import TERMINAL, TRANSITIONS, Event, JobStatus, after, allowed_from, allows


@given(st.sampled_from(Event), st.sampled_from(JobStatus))
def test_an_event_happens_exactly_where_it_is_allowed(event: Event, status: JobStatus) -> None:
    if allows(event, status):
        assert after(event, status) in JobStatus
        assert status in allowed_from(event)
    else:
        with pytest.raises(ValueError, match=f"a {status} job cannot {event}"):
            after(event, status)


def test_only_a_redrive_leaves_a_terminal_status() -> None:
    assert {event for event, (origins, _) in TRANSITIONS.items() if origins & TERMINAL} == {Event.REDRIVE}


def test_i2_running_is_entered_by_a_claim_alone() -> None:
    assert {event for event, (_, target) in TRANSITIONS.items() if target is JobStatus.RUNNING} == {Event.CLAIM}


def test_every_status_can_be_reached_from_pending() -> None:
    reached = {JobStatus.PENDING}
    for _ in JobStatus:
        reached |= {after(event, status) for event in Event for status in reached if allows(event, status)}
    assert reached == set(JobStatus)


def test_every_status_that_is_not_terminal_leads_to_one() -> None:
    for status in set(JobStatus) - TERMINAL:
        steps = {after(event, status) for event in Event if allows(event, status)}
        assert steps & TERMINAL
