"""What the executor is told by its environment."""

from pydantic import Field

from scheduler_core.settings import (
    DatabaseSettings,
    InvocationSettings,
    LeaseSettings,
    ObservabilitySettings,
    QueueSettings,
    ScalingSettings,
    SigningSettings,
    TargetSettings,
)


class ExecutorSettings(
    DatabaseSettings,
    QueueSettings,
    InvocationSettings,
    ScalingSettings,
    LeaseSettings,
    SigningSettings,
    TargetSettings,
    ObservabilitySettings,
):
    """All of the executor's settings."""

    executor_batch: int = Field(default=1_000, ge=1, le=5_000)
    """The most jobs popped, claimed and recorded at a time."""
    executor_concurrency: int = Field(default=768, ge=1, le=10_000)
    """The most jobs being delivered at once. As many are held, waiting for their due time or being delivered; while
    deliveries are quick also the next batch, or what is delivered in 50 ms, whichever is less."""
    lead_milliseconds: int = Field(default=50, ge=0, le=1_000)
    """How long before its due time a job is claimed, so that it can be sent on the millisecond."""
    idle_seconds: float = Field(default=2.0, ge=0, le=60)
    """How long an executor with nothing to do waits for more before it leaves."""
    drain_seconds: float = Field(default=310.0, ge=1, le=600)
    """How long before the invocation's end no more jobs are claimed: a little more than the longest job timeout.
    An invocation that may last less than twice as long drains for half of its time."""
    stop_seconds: float = Field(default=0.0, ge=0, le=300)
    """How long deliveries under way may go on after SIGTERM; then they are given back, and made again by another."""
