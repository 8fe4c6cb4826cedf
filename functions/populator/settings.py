"""What the populator is told by its environment."""

from pydantic import Field

from scheduler_core.settings import (
    DatabaseSettings,
    InvocationSettings,
    ObservabilitySettings,
    QueueSettings,
    ScalingSettings,
)


class PopulatorSettings(DatabaseSettings, QueueSettings, InvocationSettings, ScalingSettings, ObservabilitySettings):
    """All of the populator's settings."""

    max_executors: int = Field(default=10, ge=1, le=1_000)
    """The most executors asked for at once; the function's reserved concurrency should allow as many."""
