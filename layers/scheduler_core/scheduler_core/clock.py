"""The only place that reads the clock. Everyone else is told what time it is."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current time, UTC, with microseconds."""
    return datetime.now(UTC)  # noqa: TID251 - the one reading that all others come from


def monotonic() -> float:
    """Seconds from an arbitrary origin, never set back: for measuring and for deadlines inside one process."""
    return time.monotonic()
