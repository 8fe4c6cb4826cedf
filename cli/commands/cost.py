"""`scheduler cost`: what an installation in AWS costs in a month, beside what else would deliver the same jobs."""

from typing import Annotated, Any

import typer

from cli.command import PlainSession, plain_command
from cli.exits import CommandError, ExitCode


def register(app: typer.Typer) -> None:
    """Add the command to the root."""

    @plain_command(app, "cost")
    def cost(
        session: PlainSession,
        jobs_per_month: Annotated[
            int | None, typer.Option(min=0, metavar="N", help="How many jobs are delivered in a month.")
        ] = None,
        idle: Annotated[bool, typer.Option("--idle", help="An installation with nothing to do, as N = 0.")] = False,
        compare: Annotated[bool, typer.Option("--compare", help="A line each for many N instead of one bill.")] = False,
        stores: Annotated[
            str, typer.Option(metavar="create|bring", help="Whether the installation makes PostgreSQL and Redis.")
        ] = "create",
        batch: Annotated[int, typer.Option(min=1, max=1_000, help="How many jobs are posted in one request.")] = 1,
        region: Annotated[str, typer.Option(help="Whose prices; only regions that the price file has.")] = "us-east-1",
        free_tier: Annotated[
            bool, typer.Option("--free-tier", help="Take off what is free for ever, here and elsewhere.")
        ] = False,
    ) -> None:
        """Dollars per month and per million jobs, line by line, from list prices; beside other services."""
        from cli.cost import answers

        if sum((jobs_per_month is not None, idle, compare)) != 1:
            raise CommandError(ExitCode.USAGE, "Give one of --jobs-per-month N, --idle and --compare.")
        if stores not in ("create", "bring"):
            raise CommandError(ExitCode.USAGE, "--stores is create or bring.")
        options: dict[str, Any] = {"stores": stores, "jobs_per_request": batch, "free_tier": free_tier}
        try:
            if compare:
                session.out.show(answers.comparison(region, **options), answers.comparison_view)
            else:
                session.out.show(answers.one(region, jobs_per_month or 0, **options), answers.one_view)
        except ValueError as error:
            raise CommandError(ExitCode.INVALID, "The bill cannot be made.", str(error)) from error
