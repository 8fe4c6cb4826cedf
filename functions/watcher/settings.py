"""What the watcher is told by its environment."""

from pydantic import Field

from scheduler_core.settings import (
    DatabaseSettings,
    InvocationSettings,
    LeaseSettings,
    ObservabilitySettings,
    QueueSettings,
)


class WatcherSettings(DatabaseSettings, QueueSettings, InvocationSettings, LeaseSettings, ObservabilitySettings):
    """All of the watcher's settings."""

    retention_days: int = Field(default=30, ge=1, le=3_650)
    """How long ended jobs and their attempts are kept; whole weeks are dropped, so up to six days longer."""
    page_size: int = Field(default=500, ge=1, le=10_000)
    """How many rows one statement of the watcher touches."""
    max_pages: int = Field(default=20, ge=1, le=1_000)
    """How many pages one pass works through."""
    alert_topic_arn: str | None = None
    """SNS topic that alerts go to; without one they are only logged."""
    alert_oldest_due_seconds: int = Field(default=60, ge=5, le=86_400)
    """Alert when the oldest due job has waited this long."""
    service_namespace: str = "TaskScheduler"
    """Namespace of the metrics."""
