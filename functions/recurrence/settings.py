"""What the recurrence function is told by its environment."""

from scheduler_core.settings import (
    DatabaseSettings,
    InvocationSettings,
    ObservabilitySettings,
    QueueSettings,
    RecurrenceSettings,
)


class RecurrenceFunctionSettings(
    DatabaseSettings, QueueSettings, InvocationSettings, ObservabilitySettings, RecurrenceSettings
):
    """All of the recurrence function's settings."""
