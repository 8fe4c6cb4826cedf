"""Runs on deploy, before the other functions take traffic; and for operators, who reach the database only through it."""

from pathlib import Path
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import Field

from scheduler_core.observability.log import logger
from scheduler_core.settings import DatabaseSettings
from scheduler_core.storage.migrations import apply_migrations


class MigratorSettings(DatabaseSettings):
    """All of the migrator's settings."""

    migrations_directory: Path = Field(default=Path("/opt/migrations"))
    """Where the `.sql` files are; the layer carries them to `/opt/migrations`."""


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - Lambda passes it
    """Answers `{"applied": [names]}`. A migration that fails raises, so that the deploy fails with it.

    `{"command": "keys.create", "arguments": {...}}` does that instead; see `operating.run` for the answer.
    """
    settings = MigratorSettings()
    if "command" in event:
        from migrator.operating import run  # migrations do without it

        return run(str(event["command"]), event.get("arguments") or {}, settings)
    applied = apply_migrations(settings.database_url.get_secret_value(), settings.migrations_directory)
    logger.info("migrated", extra={"applied": applied})
    return {"applied": applied}
