"""Brings the schema up to date before the others start, and waits for a database that is still starting."""

import time
from collections.abc import Callable
from pathlib import Path

from hosting.reports import Reports
from scheduler_core.clock import monotonic
from scheduler_core.domain.errors import DatabaseUnavailableError, MigrationError
from scheduler_core.storage.migrations import apply_migrations

_WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 1.0


def migrate(
    database_url: str,
    directory: Path,
    reports: Reports,
    *,
    wait_seconds: float = _WAIT_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Apply what is outstanding; answers the exit code: 1 where a file fails, or the database stays away."""
    deadline = monotonic() + wait_seconds
    while True:
        try:
            reports.event("migrated", applied=apply_migrations(database_url, directory))
        except DatabaseUnavailableError as error:
            if monotonic() < deadline:
                sleep(_PAUSE_SECONDS)
                continue
            reports.event("migration.failed", error=str(error))
            return 1
        except MigrationError as error:
            reports.event("migration.failed", error=str(error))
            return 1
        return 0
