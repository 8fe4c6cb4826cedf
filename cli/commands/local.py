"""The command that runs everything on this machine."""

from typing import Annotated

import typer

from cli.command import PlainSession, plain_command


def register(app: typer.Typer) -> None:
    """Add the command to the root."""

    @plain_command(app, "dev")
    def dev(
        session: PlainSession,
        port: Annotated[
            int, typer.Option(min=0, max=65_535, help="Where the API listens; another if it is taken.")
        ] = 3000,
    ) -> None:
        """Run the whole scheduler here: PostgreSQL, Redis, every function, an echo receiver."""
        from dev import stack

        raise typer.Exit(stack.run(port=port, as_json=session.out.json))
