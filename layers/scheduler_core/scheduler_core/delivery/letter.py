"""Writes the HTTP request of one attempt: the headers, the signature, the body.

Headers by the Standard Webhooks specification (`webhook-*`) and W3C Trace Context (`traceparent`). What all requests
to one target have in common is made once and kept, because this runs for every delivery.
"""

from binascii import hexlify
from collections.abc import Sequence
from datetime import datetime
from enum import Enum, auto
from functools import lru_cache, partial
from typing import Final, NamedTuple

from scheduler_core.delivery.parcels import Signer
from scheduler_core.domain.hosts import Origin
from scheduler_core.domain.ids import hyphenated
from scheduler_core.domain.jobs import ClaimedJob
from scheduler_core.domain.targets import AwsTarget, HttpTarget, parse_target

_SENDS_A_LENGTH: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods that say `content-length: 0` where there is no payload (RFC 9110, section 8.6)."""


class Shape(Enum):
    """How libcurl must be told of a request."""

    WITH_BODY = auto()
    WITHOUT_BODY = auto()
    HEAD = auto()
    """Never carries a body: RFC 9110 gives one no meaning."""


class Letterhead(NamedTuple):
    """What the requests to one target share."""

    url: bytes
    method: bytes
    origin: Origin
    with_payload: tuple[bytes, ...]
    without_payload: tuple[bytes, ...]
    shape_with_payload: Shape
    shape_without_payload: Shape
    traced: bool
    """The producer sends a `traceparent` of his own."""


class Letter(NamedTuple):
    """One request, ready to be handed to libcurl."""

    shape: Shape
    headers: list[bytes]
    """libcurl's items, which it sends as they are. Ours are lines of one, without foreign text: each item more would be
    copied and compared with every name that libcurl knows, which for five is a thirtieth of what a delivery costs."""
    body: bytes


# What `_make` does, without a call of Python's own for each of thousands of deliveries.
_LETTER = partial(tuple.__new__, Letter)


@lru_cache(maxsize=1_024)
def letterhead(target: str) -> Letterhead | AwsTarget:
    """What is common to the requests to `target`, JSON text; an AWS target as it is. Raises ValueError."""
    parsed = parse_target(target)
    return _letterhead(parsed) if isinstance(parsed, HttpTarget) else parsed


def write(job: ClaimedJob, head: Letterhead, signers: Sequence[Signer], now: datetime) -> Letter:
    """The request of `job`'s attempt, signed at `now`."""
    number, attempt, payload = job.id.int, job.attempt, job.payload
    digits = hexlify(number.to_bytes(16))
    name = hyphenated(digits)
    if payload is None:
        body, theirs, shape = b"", head.without_payload, head.shape_without_payload
    else:
        body, theirs, shape = payload.encode(), head.with_payload, head.shape_with_payload
    moment = _unix_seconds(now)
    ours = b"webhook-id: %b\r\nwebhook-timestamp: %b\r\nx-scheduler-attempt: %d" % (name, moment, attempt)
    if signers:
        signed = b"%b.%b.%b" % (name, moment, b"" if shape is Shape.HEAD else body)
        ours += b"\r\nwebhook-signature: " + b" ".join([signer.sign(signed) for signer in signers])
    if not head.traced:
        span = hexlify((number ^ attempt).to_bytes(16)[8:])  # never zero: the top bit of a UUID's lower half is set
        ours += b"\r\ntraceparent: 00-%b-%b-01" % (digits, span)
    return _LETTER((shape, [*theirs, ours], body))


@lru_cache(maxsize=2)
def _unix_seconds(moment: datetime) -> bytes:
    return b"%d" % moment.timestamp()


def _letterhead(target: HttpTarget) -> Letterhead:
    lines = [_line(name, value) for name, value in target.headers]
    names = {name.lower() for name, _ in target.headers}
    typed = "content-type" in names
    head = target.method == "HEAD"
    bare = Shape.WITH_BODY if target.method in _SENDS_A_LENGTH else Shape.WITHOUT_BODY
    return Letterhead(
        url=target.url.encode(),
        method=target.method.encode(),
        origin=target.origin,
        with_payload=tuple(lines if typed else [*lines, b"content-type: application/json"]),
        # A name without a value keeps libcurl from adding its own, a form's.
        without_payload=tuple(lines if typed else [*lines, b"content-type:"]),
        shape_with_payload=Shape.HEAD if head else Shape.WITH_BODY,
        shape_without_payload=Shape.HEAD if head else bare,
        traced="traceparent" in names,
    )


def _line(name: str, value: str) -> bytes:
    """A header as libcurl wants it: an empty value goes with a semicolon, since a colon would remove the header."""
    return f"{name}: {value}".encode() if value.strip() else f"{name};".encode()
