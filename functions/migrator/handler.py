"""Runs on deploy, before the other functions take traffic."""

from pathlib import Path
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import Field

from scheduler_core.observability.log import logger
from scheduler_core.settings import DatabaseSettings
from scheduler_core.storage.login import Login
from scheduler_core.storage.migrations import apply_migrations


class MigratorSettings(DatabaseSettings):
    """All of the migrator's settings."""

    migrations_directory: Path = Field(default=Path("/opt/migrations"))
    """Where the `.sql` files are; the layer carries them to `/opt/migrations`."""


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - there is nothing to say
    """Answers `{"applied": [names]}`. A migration that fails raises, so that the deploy fails with it."""
    settings = MigratorSettings()
    applied = apply_migrations(Login.of(settings), settings.migrations_directory)
    logger.info("migrated", extra={"applied": applied})
    return {"applied": applied}
