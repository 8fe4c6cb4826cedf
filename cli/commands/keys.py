"""`scheduler keys`: API keys. A secret is shown once, when it is made; what is stored cannot be turned back into it."""

import os
from datetime import datetime, timedelta
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
    from cli import registry
    from scheduler_core.security.api_keys import ENTROPY_BYTES, generate
    from scheduler_core.storage import api_keys

    now = utc_now()
    expires_at = None if expires_in is None else now + timedelta(seconds=inputs.span(expires_in, "--expires-in"))
    try:
        key = generate(environment, os.urandom(ENTROPY_BYTES))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--environment") from None
    with registry.transaction(database.url) as connection:
        owner = registry.merchant(connection, merchant)
        stored = api_keys.create(
            connection,
            owner.id,
            key_id=key.id,
            environment=key.environment,
            secret_sha256=key.secret_sha256,
            name=name,
            permissions=[each.value for each in permission or Permission],
            now=now,
            expires_at=expires_at,
        )
        registry.note(connection, owner.id, "key.created", f"/keys/{key.id}", now)
    _show_once(database, {**_public(stored, now), "key": key.plaintext})


@database_command(app, "list")
def list_(database: DatabaseSession, merchant: MerchantName) -> None:
    """List a merchant's keys, oldest first."""
    from cli import registry
    from scheduler_core.storage import api_keys

    now = utc_now()
    with registry.transaction(database.url) as connection:
        found = api_keys.list_of_merchant(connection, registry.merchant(connection, merchant).id)
    database.out.show(
        {"items": [_public(each, now) for each in found]}, lambda answer: views.keys(answer["items"], now)
    )


@database_command(app, "revoke")
def revoke(database: DatabaseSession, key: KeyId) -> None:
    """End a key for good. The gateway remembers an answer for a key for up to a minute."""
    from cli import registry
    from scheduler_core.storage import api_keys

    now = utc_now()
    with registry.transaction(database.url) as connection:
        stored = registry.key(connection, key)
        ended = api_keys.revoke(connection, stored.merchant_id, stored.id, now)
        registry.note(connection, stored.merchant_id, "key.revoked", f"/keys/{stored.id}", now)
    database.out.show(_public(ended, now), views.tree)


@database_command(app, "rotate")
def rotate(
    database: DatabaseSession,
    key: KeyId,
    overlap: Annotated[str, typer.Option(metavar="24h", help="How long the old key goes on working.")] = "24h",
) -> None:
    """Make a key with the same name and permissions, and let the old one end after the overlap."""
    from cli import registry
    from scheduler_core.security.api_keys import ENTROPY_BYTES, generate
    from scheduler_core.storage import api_keys

    now = utc_now()
    old_ends_at = now + timedelta(seconds=inputs.span(overlap, "--overlap"))
    with registry.transaction(database.url) as connection:
        old = registry.key(connection, key)
        fresh = generate(old.environment, os.urandom(ENTROPY_BYTES))
        stored = api_keys.rotate(
            connection,
            old.merchant_id,
            old.id,
            key_id=fresh.id,
            secret_sha256=fresh.secret_sha256,
            now=now,
            old_expires_at=old_ends_at,
        )
        registry.note(connection, old.merchant_id, "key.rotated", f"/keys/{old.id}", now)
        old = api_keys.get(connection, old.merchant_id, old.id)
    answer = {**_public(stored, now), "key": fresh.plaintext, "replaces": _public(old, now)}
    _show_once(database, answer)
    if not database.out.json and old.expires_at is not None:
        database.out.remark(f"the old key {old.id} ends {times.full(old.expires_at, now)}")


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


def _public(key: Any, now: datetime) -> dict[str, Any]:
    from cli import registry

    return {
        "id": key.id,
        "merchant_id": str(key.merchant_id),
        "name": key.name,
        "environment": key.environment,
        "permissions": key.permissions,
        "state": registry.key_state(key, now),
        **{
            each: None if getattr(key, each) is None else times.rfc3339(getattr(key, each))
            for each in ("expires_at", "last_used_at", "created_at", "revoked_at")
        },
    }
