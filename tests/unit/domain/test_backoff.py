"""Backoff: grows, is capped, is jittered over the whole span, and listens to Retry-After."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.domain.backoff import ceiling_seconds, next_attempt_at
from scheduler_core.domain.jobs import RetryPolicy
from tests.builders import NOW, seconds

policies = st.builds(
    RetryPolicy,
    initial_seconds=st.floats(0.001, 3_600),
    max_seconds=st.floats(0.001, 86_400),
    multiplier=st.floats(1, 100),
)
attempts = st.integers(1, 1_000)
jitters = st.floats(0, 1, exclude_max=True)


@given(policies, attempts, jitters)
def test_the_wait_lies_between_nothing_and_the_ceiling(policy: RetryPolicy, attempt: int, jitter: float) -> None:
    wait = next_attempt_at(NOW, attempt, policy, jitter) - NOW
    assert timedelta() <= wait <= seconds(policy.max_seconds) + timedelta(microseconds=1)


@given(policies, attempts)
def test_the_ceiling_never_shrinks_from_one_attempt_to_the_next(policy: RetryPolicy, attempt: int) -> None:
    assert ceiling_seconds(attempt, policy) <= ceiling_seconds(attempt + 1, policy) <= policy.max_seconds


def test_the_ceiling_doubles_by_default() -> None:
    assert [ceiling_seconds(attempt, RetryPolicy()) for attempt in range(1, 6)] == [1, 2, 4, 8, 16]


@given(policies, attempts, jitters, st.floats(-10, 1e9))
def test_retry_after_replaces_the_backoff_up_to_the_cap(
    policy: RetryPolicy, attempt: int, jitter: float, asked: float
) -> None:
    wait = next_attempt_at(NOW, attempt, policy, jitter, retry_after_seconds=asked) - NOW
    assert wait == seconds(min(max(asked, 0), policy.max_seconds))
