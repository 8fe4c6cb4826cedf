"""`scheduler keys`: API keys. A secret is shown once, when it is made; what is stored cannot be turned back into it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from cli import inputs, times, views
from cli.command import DatabaseSession, database_command
from cli.commands.merchants import MerchantName
from scheduler_core.clock import utc_now

app: Final = typer.Typer(help="API keys (on the database).", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(metavar="KEY", help="The key's id (its third part).")]


class Permission(StrEnum):
    """What a key may do."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    TEMPLATES_READ = "templates:read"
    TEMPLATES_WRITE = "templates:write"


@database_command(app, "create")
def create(
    database: DatabaseSession,
    merchant: MerchantName,
    name: Annotated[str, typer.Option(help="What it is for.")] = "default",
    permission: Annotated[
        list[Permission] | None, typer.Option(help="What it may do; repeatable; everything if not given.")
    ] = None,
    expires_in: Annotated[str | None, typer.Option(metavar="90d", help="When it ends; never if not given.")] = None,
    environment: Annotated[str, typer.Option(help="A word inside the key, such as live or test.")] = "live",
) -> None:
    """Make a key; prints it, once."""
    made = database.ask(
        "keys.create",
        merchant=merchant,
        name=name,
        permissions=[each.value for each in permission or ()],
        expires_in_seconds=None if expires_in is None else inputs.span(expires_in, "--expires-in"),
        environment=environment,
    )
    _show_once(database, made)


@database_command(app, "list")
def list_(database: DatabaseSession, merchant: MerchantName) -> None:
    """List a merchant's keys, oldest first."""
    now = utc_now()
    database.out.show(database.ask("keys.list", merchant=merchant), lambda answer: views.keys(answer["items"], now))


@database_command(app, "revoke")
def revoke(database: DatabaseSession, key: KeyId) -> None:
    """End a key for good. The gateway remembers an answer for a key for up to a minute."""
    database.out.show(database.ask("keys.revoke", key=key), views.tree)


@database_command(app, "rotate")
def rotate(
    database: DatabaseSession,
    key: KeyId,
    overlap: Annotated[str, typer.Option(metavar="24h", help="How long the old key goes on working.")] = "24h",
) -> None:
    """Make a key with the same name and permissions, and let the old one end after the overlap."""
    answer = database.ask("keys.rotate", key=key, overlap_seconds=inputs.span(overlap, "--overlap"))
    _show_once(database, answer)
    old = answer["replaces"]
    if not database.out.json and old["expires_at"] is not None:
        ends = times.full(datetime.fromisoformat(old["expires_at"]), utc_now())
        database.out.remark(f"the old key {old['id']} ends {ends}")


def _show_once(database: DatabaseSession, answer: dict[str, Any]) -> None:
    database.out.show(
        answer,
        lambda told: views.facts(
            [
                ("key", told["key"]),
                ("id", told["id"]),
                ("merchant", told["merchant_id"]),
                ("permissions", ", ".join(told["permissions"])),
                ("expires", told["expires_at"] or "never"),
            ]
        ),
    )
    database.out.remark("keep the key now: it cannot be shown again")
