"""`scheduler merchants`: the tenants and the secrets that their receivers check signatures with."""

from typing import Annotated, Final

import typer

from cli import views
from cli.command import DatabaseSession, database_command

app: Final = typer.Typer(help="Tenants and their webhook secrets (on the database).", no_args_is_help=True)

MerchantName = Annotated[str, typer.Argument(metavar="MERCHANT", help="The merchant's id or name.")]


@database_command(app, "create")
def create(
    database: DatabaseSession,
    name: Annotated[str, typer.Argument(help="A name that no other merchant has.")],
    weight: Annotated[
        int, typer.Option(min=1, max=100, help="Its share of the executors when there is more work than room.")
    ] = 1,
    max_concurrency: Annotated[
        int | None, typer.Option(min=1, help="The most deliveries at once; no limit if not given.")
    ] = None,
    rate_limit: Annotated[
        int | None, typer.Option(min=1, help="The most deliveries per second; no limit if not given.")
    ] = None,
    allowed_target_arn: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="AWS targets it may name, e.g. arn:aws:sqs:*:*:orders-*; repeatable."),
    ] = None,
) -> None:
    """Make a merchant; prints its id and its webhook signing secret."""
    made = database.ask(
        "merchants.create",
        name=name,
        weight=weight,
        max_concurrency=max_concurrency,
        rate_limit_per_second=rate_limit,
        allowed_target_arns=allowed_target_arn or [],
    )
    database.out.show(
        made,
        lambda answer: views.facts(
            [("id", answer["id"]), ("name", answer["name"]), ("signing secret", answer["signing_secret"])]
        ),
    )
    database.out.remark("next: scheduler keys create " + made["id"])


@database_command(app, "list")
def list_(
    database: DatabaseSession,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="The most to list.")] = 100,
    after: Annotated[str | None, typer.Option(metavar="MERCHANT", help="Those made after this one.")] = None,
) -> None:
    """List merchants, oldest first."""
    found = database.ask("merchants.list", limit=limit, after=after)
    database.out.show(found, lambda answer: views.merchants(answer["items"]))


@database_command(app, "signing-secret")
def signing_secret(
    database: DatabaseSession,
    merchant: MerchantName,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Take a new secret into use; deliveries carry both signatures for 24 h.")
    ] = False,
) -> None:
    """Show the secret that receivers check signatures with, or rotate it."""
    database.out.show(database.ask("merchants.signing_secret", merchant=merchant, rotate=rotate), views.tree)
