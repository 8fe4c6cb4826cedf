"""A request's body as Python values: bounded, strict JSON, always an object."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from api.faults import BodyTooLargeError, Fault, InvalidRequestError

MAX_BODY_BYTES: Final = 512 * 1024
"""A single resource: a payload of 256 KiB and everything around it."""
MAX_BATCH_BYTES: Final = 6 * 1024 * 1024
"""What Lambda itself takes in one event."""


def read_body(event: Mapping[str, Any], most_bytes: int) -> dict[str, Any]:
    """The JSON object in the event's body, whatever its content type says.

    Raises BodyTooLargeError, and InvalidRequestError for anything but an object of strict JSON: NaN, lone surrogates
    and nesting deeper than 200 are not.
    """
    raw = event.get("body") or ""
    if len(raw) > most_bytes * 4 // 3 + 4:
        raise BodyTooLargeError(f"a request body has at most {most_bytes} bytes")
    try:
        text = base64.b64decode(raw, validate=True) if event.get("isBase64Encoded") else raw.encode()
    except (binascii.Error, UnicodeEncodeError) as error:
        raise InvalidRequestError(Fault("the body is not valid text", pointer="")) from error
    if len(text) > most_bytes:
        raise BodyTooLargeError(f"a request body has at most {most_bytes} bytes")
    if not text.strip():
        raise InvalidRequestError(Fault("a JSON body is required", pointer=""))
    try:
        value = from_json(text, allow_inf_nan=False)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(Fault(f"the body is not valid JSON: {error}", pointer="")) from error
    if not isinstance(value, dict):
        raise InvalidRequestError(Fault("the body must be a JSON object", pointer=""))
    return value
