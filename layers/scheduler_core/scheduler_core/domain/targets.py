"""What a stored target says: an HTTP request to make, or an AWS resource to hand the payload to."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from scheduler_core.domain.hosts import Origin, ascii_url, parse_http_url

OWN_HEADERS: Final = frozenset(
    {
        # hop by hop, or a consequence of the body
        "connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that no producer sets: they belong to the connection, and a stray one would break its framing."""
OWN_PREFIXES: Final = ("webhook-", "x-scheduler-")
_ARN_PARTS: Final = 6
_REGION: Final = re.compile("[a-z0-9-]{1,40}")
"""It becomes part of a host name."""


class AwsService(StrEnum):
    """The values of a target's `type` that lead to AWS."""

    LAMBDA = "lambda"
    SQS = "sqs"
    SNS = "sns"
    EVENTBRIDGE = "eventbridge"
    STEP_FUNCTIONS = "stepfunctions"


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """A request: `url` in ASCII, `headers` without those that are the scheduler's own."""

    url: str
    method: str
    headers: tuple[tuple[str, str], ...]
    origin: Origin


class Arn(NamedTuple):
    """The parts of `arn:partition:service:region:account:resource`."""

    partition: str
    service: str
    region: str
    account: str
    resource: str


@dataclass(frozen=True, slots=True)
class AwsTarget:
    """An AWS resource, and what its service wants to know besides."""

    service: AwsService
    arn: str
    parts: Arn
    message_group_id: str | None = None
    source: str | None = None
    detail_type: str | None = None


_SERVICE_IN_ARN: Final = {
    AwsService.LAMBDA: "lambda",
    AwsService.SQS: "sqs",
    AwsService.SNS: "sns",
    AwsService.EVENTBRIDGE: "events",
    AwsService.STEP_FUNCTIONS: "states",
}


def parse_target(text: str) -> HttpTarget | AwsTarget:
    """Read a stored target. Raises ValueError, quoting neither URL nor headers, if it makes no sense."""
    try:
        stored = json.loads(text)
    except ValueError as error:
        raise ValueError("the target is not JSON") from error
    kind = stored.get("type") if isinstance(stored, dict) else None
    if kind == "http":
        return _http(stored)
    if isinstance(kind, str) and kind in _SERVICE_IN_ARN:
        return _aws(AwsService(kind), stored)
    raise ValueError("the target's type is unknown")


def arn_allowed(arn: str, patterns: Sequence[str]) -> bool:
    """Whether one of the shell patterns (`*`, `?`, `[...]`) covers `arn`, part by part: a `*` never spans two parts.

    The last part may itself hold colons (`function:name:alias`) and is matched as one. `*` alone covers everything.
    """
    parts = arn.split(":", _ARN_PARTS - 1)
    return len(parts) == _ARN_PARTS and any(_covers(pattern, parts) for pattern in patterns)


def _covers(pattern: str, parts: list[str]) -> bool:
    wanted = pattern.split(":", _ARN_PARTS - 1)
    return pattern == "*" or (len(wanted) == _ARN_PARTS and all(map(fnmatchcase, parts, wanted)))


def _http(stored: dict[str, Any]) -> HttpTarget:
    url, method, headers = stored.get("url"), stored.get("method", "POST"), stored.get("headers") or {}
    if not isinstance(url, str):
        raise ValueError("the target has no URL")  # noqa: TRY004 - stored data, not a caller's mistake
    if not isinstance(method, str) or not method.isascii() or not method.isalpha():
        raise ValueError("the target's method is not a word")
    if not isinstance(headers, dict):
        raise ValueError("the target's headers are not an object")  # noqa: TRY004 - the same
    origin = parse_http_url(url)
    return HttpTarget(ascii_url(url), method.upper(), tuple(_headers(headers)), origin)


def _headers(headers: dict[str, Any]) -> list[tuple[str, str]]:
    kept = []
    for name, value in headers.items():
        if not isinstance(value, str) or not _is_token(name) or any(c in value for c in "\r\n\0"):
            raise ValueError("the target has a header that cannot be sent")
        if name.lower() not in OWN_HEADERS and not name.lower().startswith(OWN_PREFIXES):
            kept.append((name, value))
    return kept


def _is_token(name: str) -> bool:
    return name.isascii() and name.isprintable() and bool(name) and not set(name) & set('()<>@,;:\\"/[]?={} ')


def _aws(service: AwsService, stored: dict[str, Any]) -> AwsTarget:
    arn = stored.get("arn")
    pieces = arn.split(":", _ARN_PARTS - 1) if isinstance(arn, str) else []
    if len(pieces) != _ARN_PARTS or pieces[0] != "arn" or not all(pieces[1:]) or not _REGION.fullmatch(pieces[3]):
        raise ValueError("the target's ARN cannot be read")
    parts = Arn(*pieces[1:])
    if parts.service != _SERVICE_IN_ARN[service]:
        raise ValueError(f"the target's ARN is not one of {service.value}")
    options = {name: stored.get(name) for name in ("message_group_id", "source", "detail_type")}
    if not all(value is None or isinstance(value, str) for value in options.values()):
        raise ValueError("the target's options are not text")
    return AwsTarget(service, str(arn), parts, **options)
