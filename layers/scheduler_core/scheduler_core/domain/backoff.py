"""When to try again: exponential backoff with full jitter (Brooker, "Exponential Backoff and Jitter", AWS, 2015)."""

from datetime import datetime, timedelta

from scheduler_core.domain.jobs import RetryPolicy


def ceiling_seconds(attempt: int, policy: RetryPolicy) -> float:
    """The longest wait after failed attempt number `attempt` (from 1), in seconds; never above the policy's maximum."""
    try:
        grown = policy.initial_seconds * policy.multiplier ** (attempt - 1)
    except OverflowError:
        return policy.max_seconds
    return min(policy.max_seconds, grown)


def next_attempt_at(
    now: datetime, attempt: int, policy: RetryPolicy, jitter: float, retry_after_seconds: float | None = None
) -> datetime:
    """When the attempt after number `attempt` (from 1) is due.

    `jitter` is a sample from [0, 1). A target's `Retry-After` replaces the backoff, up to the policy's maximum.
    """
    if retry_after_seconds is not None:
        wait = min(max(retry_after_seconds, 0.0), policy.max_seconds)
    else:
        wait = ceiling_seconds(attempt, policy) * jitter
    return now + timedelta(seconds=wait)
