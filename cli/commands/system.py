"""The commands about the whole: migrate, health, stats."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import views
from cli.command import ApiSession, DatabaseSession, api_command, database_command
from cli.exits import CommandError, ExitCode

_MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""

    @database_command(app, "migrate")
    def migrate(
        database: DatabaseSession,
        directory: Annotated[Path, typer.Option(help="The folder of the migrations.")] = _MIGRATIONS,
    ) -> None:
        """Bring the database's schema up to date; safe to repeat and to race. In AWS: to what was deployed there."""
        from cli import registry
        from scheduler_core.storage.migrations import apply_migrations

        if database.function is not None:
            done = registry.ask_function(database.function, {})
        else:
            with registry.translated():
                done = {"applied": apply_migrations(database.url, directory)}
        database.out.show(
            done,
            lambda answer: "\n".join(f"applied {name}" for name in answer["applied"]) or "nothing to apply",
        )

    @api_command(app, "stats")
    def stats(api: ApiSession) -> None:
        """Counts of the key's merchant: jobs by status, the oldest due, the last hour."""
        with api.client() as client:
            api.out.show(client.get("/stats"), views.stats)

    @api_command(app, "health")
    def health(api: ApiSession) -> None:
        """Ask the service how it is: exit code 0 if it accepts jobs, 7 if not. Needs no key."""
        with api.client() as client:
            answer: Any = client.call("GET", "/health", accepted=frozenset({503}))
        if not isinstance(answer, dict) or "status" not in answer:
            raise CommandError(ExitCode.UNAVAILABLE, "The service does not say how it is.")
        api.out.show(answer, views.tree)
        if answer["status"] not in {"ok", "degraded"}:
            raise CommandError(ExitCode.UNAVAILABLE, "The service does not accept jobs.")
