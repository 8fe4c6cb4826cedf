"""What people type, turned into what the API takes. A CommandError (or Typer's BadParameter) says what is wrong."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer

from cli import times
from cli.exits import CommandError, ExitCode


def document(text: str, option: str) -> Any:
    """JSON given as itself, as `@file`, or as `-` for standard input."""
    source = text
    try:
        if text == "-":
            source = sys.stdin.read()
        elif text.startswith("@"):
            source = Path(text[1:]).read_text(encoding="utf-8")
        return json.loads(source)
    except OSError as error:
        raise typer.BadParameter(f"{text[1:]}: {error.strerror}", param_hint=option) from None
    except ValueError as error:
        raise CommandError(ExitCode.INVALID, f"{option} is not JSON.", str(error)) from None


def segment(identifier: str) -> str:
    """An id as one segment of a path, so that whatever is typed cannot lead to another route."""
    return quote(identifier, safe="")


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """`name=value`, repeated."""
    split = [each.partition("=") for each in given]
    if wrong := next((name for name, equals, _ in split if not (name and equals)), None):
        raise typer.BadParameter(f"{wrong!r} is not name=value", param_hint=option)
    return {name.strip(): value for name, _, value in split}


def target(url: str | None, method: str, headers: Sequence[str], whole: str | None) -> dict[str, Any]:
    """A target from `--url` and its companions, or the whole of it from `--target`."""
    if (url is None) == (whole is None):
        raise typer.BadParameter("give either --url or --target", param_hint="--url")
    if whole is not None:
        read = document(whole, "--target")
        if not isinstance(read, dict):
            raise CommandError(ExitCode.INVALID, "--target is not a JSON object.")
        return read
    return {"type": "http", "url": url, "method": method.upper(), "headers": pairs(headers, "--header")}


def given_only(**fields: object) -> dict[str, Any]:
    """The fields that were given, so that the service's own defaults hold for the rest."""
    return {name: value for name, value in fields.items() if value not in (None, {}, [])}


def retry_policy(initial: float | None, most: float | None, multiplier: float | None) -> dict[str, Any] | None:
    """The backoff, where any of it was given."""
    return given_only(initial_seconds=initial, max_seconds=most, multiplier=multiplier) or None


def when(text: str, now: datetime, option: str) -> str:
    """A moment as the API takes it."""
    try:
        return times.rfc3339(times.moment(text, now))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def deadline(at: str | None, after: str | None, now: datetime) -> str | None:
    """The end given as a moment (`--expires`) or as a duration (`--expires-in`)."""
    if at is not None and after is not None:
        raise typer.BadParameter("give either --expires or --expires-in", param_hint="--expires")
    if after is not None:
        return times.rfc3339(now + timedelta(seconds=span(after, "--expires-in")))
    return None if at is None else when(at, now, "--expires")


def span(text: str, option: str) -> float:
    """A duration in seconds."""
    try:
        return times.seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def whole_seconds(text: str, option: str) -> int:
    """A duration in whole seconds."""
    value = span(text, option)
    if value != int(value):
        raise typer.BadParameter(f"{text!r} is not a whole number of seconds", param_hint=option)
    return int(value)
