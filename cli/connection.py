"""Where to connect: what was given, else the development stack of this checkout, else the default."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.client import ApiAddress
from cli.exits import CommandError, ExitCode

DEFAULT_URL: Final = "http://127.0.0.1:3000"
DATA_FOLDER: Final = Path(__file__).resolve().parents[1] / ".data"
STACK_FILE: Final = "stack.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStack:
    """What `scheduler dev` leaves in its data folder while it runs."""

    api_url: str
    api_key: str
    database_url: str
    signing_key: str


def running_stack(folder: Path = DATA_FOLDER) -> RunningStack | None:
    """The stack whose data folder is `folder`, where one is running; None otherwise."""
    try:
        told = json.loads((folder / STACK_FILE).read_text(encoding="utf-8"))
        os.kill(int(told["pid"]), 0)
        return RunningStack(
            api_url=told["url"],
            api_key=told["api_key"],
            database_url=told["database_url"],
            signing_key=told["signing_key"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def api_address(url: str | None, key: str | None) -> ApiAddress:
    """The API to speak to. A stack's demo key is never sent to an address that was given by hand."""
    if url is not None:
        return ApiAddress(url=url.rstrip("/"), key=key)
    stack = running_stack()
    if stack is None:
        return ApiAddress(url=DEFAULT_URL, key=key)
    return ApiAddress(url=stack.api_url.rstrip("/"), key=key or stack.api_key)


def database_address(url: str | None) -> str:
    """The database to speak to; a CommandError where none is known."""
    if url:
        return url
    stack = running_stack()
    if stack is None:
        raise CommandError(
            ExitCode.UNAVAILABLE,
            "No database is known.",
            "Set DATABASE_URL, give --database-url, or start `scheduler dev`.",
        )
    return stack.database_url


def signing_key() -> bytes:
    """The installation's signing key; a CommandError where none is known."""
    given = os.environ.get("SIGNING_KEY")
    if given:
        return given.encode()
    stack = running_stack()
    if stack is None:
        raise CommandError(
            ExitCode.UNAVAILABLE, "No signing key is known.", "Set SIGNING_KEY to the key of this installation."
        )
    return stack.signing_key.encode()
