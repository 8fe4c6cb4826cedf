"""Runs on deploy, before the other functions take traffic; and for operators, where only functions reach PostgreSQL."""

from pathlib import Path
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import Field

from scheduler_core.observability.log import logger
from scheduler_core.settings import DatabaseSettings
from scheduler_core.storage.login import Login
from scheduler_core.storage.migrations import apply_migrations

CONNECT_SECONDS = 30
"""A database that was scaled to zero takes a while to wake; a deploy can wait for it."""
LAST_SECONDS = 15.0
"""What is kept of the invocation's time for taking a migration back and for saying so."""


class MigratorSettings(DatabaseSettings):
    """All of the migrator's settings."""

    migrations_directory: Path = Field(default=Path("/opt/migrations"))
    """Where the `.sql` files are; the layer carries them to `/opt/migrations`."""


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers `{"applied": [names]}`. A migration that fails raises.

    CloudFormation's events (they have a `ResponseURL`) are answered where they say, and a migration that fails, fails
    the deploy. `{"command": "keys.create", "arguments": {...}}` does that instead; see `operating.run`.
    """
    if "ResponseURL" in event:
        return _serve_cloudformation(event, context)
    if "command" in event:
        from migrator.operating import run  # migrations do without it

        return run(str(event["command"]), event.get("arguments") or {}, MigratorSettings())
    return {"applied": _migrate(context)}


def _serve_cloudformation(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    from migrator.custom_resource import Failed, serve  # only CloudFormation is answered over HTTP

    outcome = serve(event, lambda: _migrate(context), log_stream=getattr(context, "log_stream_name", ""))
    if isinstance(outcome, Failed):
        logger.error("the deploy was told that the migration failed", extra={"reason": outcome.reason})
        return {"failed": outcome.reason}
    return {"applied": list(outcome.applied)}


def _migrate(context: LambdaContext) -> list[str]:
    settings = MigratorSettings()
    applied = apply_migrations(
        Login.of(settings),
        settings.migrations_directory,
        connect_timeout_seconds=CONNECT_SECONDS,
        seconds=max(1.0, context.get_remaining_time_in_millis() / 1_000 - LAST_SECONDS),
    )
    logger.info("migrated", extra={"applied": applied})
    return applied
