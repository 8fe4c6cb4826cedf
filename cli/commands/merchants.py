"""`scheduler merchants`: the tenants and the secrets that their receivers check signatures with."""

from typing import Annotated, Any, Final

import typer

from cli import times, views
from cli.command import DatabaseSession, database_command
from scheduler_core.clock import utc_now

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
    import os

    from cli import registry
    from scheduler_core.domain.ids import ENTROPY_BYTES, uuid7
    from scheduler_core.security.signing import merchant_secret, shown_secret
    from scheduler_core.storage import merchants

    signing_key, now = database.signing_key(), utc_now()
    with registry.transaction(database.url) as connection:
        made = merchants.create(
            connection,
            uuid7(now, os.urandom(ENTROPY_BYTES)),
            name=name,
            now=now,
            weight=weight,
            max_concurrency=max_concurrency,
            rate_limit_per_second=rate_limit,
            allowed_target_arns=allowed_target_arn or (),
        )
    secret = shown_secret(merchant_secret(signing_key, made.id, made.signing_key_version))
    database.out.show(
        {**_public(made), "signing_secret": secret},
        lambda answer: views.facts(
            [("id", answer["id"]), ("name", answer["name"]), ("signing secret", answer["signing_secret"])]
        ),
    )
    database.out.remark("next: scheduler keys create " + str(made.id))


@database_command(app, "list")
def list_(
    database: DatabaseSession,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="The most to list.")] = 100,
    after: Annotated[str | None, typer.Option(metavar="MERCHANT", help="Those made after this one.")] = None,
) -> None:
    """List merchants, oldest first."""
    from cli import registry
    from scheduler_core.storage import merchants

    with registry.transaction(database.url) as connection:
        start = None if after is None else registry.merchant(connection, after).id
        found = merchants.list_page(connection, after=start, limit=limit)
    database.out.show({"items": [_public(each) for each in found]}, lambda answer: views.merchants(answer["items"]))


@database_command(app, "signing-secret")
def signing_secret(
    database: DatabaseSession,
    merchant: MerchantName,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Take a new secret into use; deliveries carry both signatures for 24 h.")
    ] = False,
) -> None:
    """Show the secret that receivers check signatures with, or rotate it."""
    from cli import registry
    from scheduler_core.security.signing import ROTATION_OVERLAP, merchant_secret, shown_secret
    from scheduler_core.storage import merchants

    signing_key, now = database.signing_key(), utc_now()
    with registry.transaction(database.url) as connection:
        found = registry.merchant(connection, merchant)
        if rotate:
            found = merchants.rotate_signing_key(connection, found.id, now)
            registry.note(connection, found.id, "signing_secret.rotated", f"/merchants/{found.id}", now)
    version, rotated_at = found.signing_key_version, found.signing_key_rotated_at
    overlaps = version > 1 and rotated_at is not None and now < rotated_at + ROTATION_OVERLAP
    answer: dict[str, Any] = {
        "merchant_id": str(found.id),
        "version": version,
        "signing_secret": shown_secret(merchant_secret(signing_key, found.id, version)),
        "previous_valid_until": times.rfc3339(rotated_at + ROTATION_OVERLAP) if overlaps and rotated_at else None,
    }
    database.out.show(answer, views.tree)


def _public(merchant: Any) -> dict[str, Any]:
    return {
        "id": str(merchant.id),
        "name": merchant.name,
        "active": merchant.active,
        "weight": merchant.weight,
        "max_concurrency": merchant.max_concurrency,
        "rate_limit_per_second": merchant.rate_limit_per_second,
        "allowed_target_arns": merchant.allowed_target_arns,
        "created_at": times.rfc3339(merchant.created_at),
    }
