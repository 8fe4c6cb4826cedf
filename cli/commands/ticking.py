"""The command that fires the template's schedules."""

import os
from typing import Annotated, Any, Final

import typer

from cli import views
from cli.command import PlainSession, plain_command
from cli.exits import CommandError, ExitCode

_NEEDED: Final = ("DATABASE_URL", "REDIS_URL", "SIGNING_KEY")


def register(app: typer.Typer) -> None:
    """Add the command to the root."""

    @plain_command(app, "tick")
    def tick(
        session: PlainSession,
        once: Annotated[
            bool, typer.Option("--once", help="Fire each schedule once, wait for the results, end.")
        ] = False,
        through: Annotated[
            str | None,
            typer.Option(
                metavar="URL", help="Invoke the functions there, as `sam local start-lambda` offers it; not in process."
            ),
        ] = None,
        keep_executor: Annotated[
            bool, typer.Option("--keep-executor", help="Keep one executor awake, for an API that cannot wake one.")
        ] = False,
    ) -> None:
        """Fire the schedules of template.yaml, where nothing else does: beside `sam local`.

        The functions run in processes of this machine, with DATABASE_URL, REDIS_URL and SIGNING_KEY and the other
        settings from the environment; Ctrl-C or SIGTERM ends them. `make sam` does all that by itself.
        """
        from dev import ticking
        from hosting.template import TemplateError

        if keep_executor and (through or once):
            raise CommandError(ExitCode.USAGE, "--keep-executor goes with neither --through nor --once.")
        try:
            results = ticking.tick(
                through or _stores(), as_json=session.out.json, once=once, keep_executor=keep_executor
            )
        except TemplateError as error:
            raise CommandError(ExitCode.FAILED, "template.yaml is not understood.", str(error)) from error
        if once:
            session.out.show(
                {name: result.answer or dict(result.error or {}) for name, result in results.items()}, views.tree
            )
            failed = [name for name, result in results.items() if result.error is not None]
            if failed or not results:
                raise CommandError(ExitCode.FAILED, "Not every function succeeded.", ", ".join(failed) or "interrupted")


def _stores() -> Any:
    from dev.ticks import Stores

    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        raise CommandError(ExitCode.USAGE, "The functions' stores are not known.", f"Set {', '.join(missing)}.")
    database_url, redis_url, signing_key = (os.environ[name] for name in _NEEDED)
    return Stores(database_url=database_url, redis_url=redis_url, signing_key=signing_key)
