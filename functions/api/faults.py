"""What can be wrong with a request itself, each fault with the place where it is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError

from scheduler_core.domain.errors import SchedulerError

MOST_FAULTS: Final = 50
_TEXTS: Final[Mapping[str, str]] = {
    "extra_forbidden": "is not a known field",
    "missing": "is required",
    "string_unicode": "is not valid Unicode text",
    "union_tag_not_found": "needs a type",
    "dict_type": "should be an object",
    "model_attributes_type": "should be an object",
    "model_type": "should be an object",
}


class UnauthenticatedError(SchedulerError):
    """The request carries no API key."""


class ForbiddenError(SchedulerError):
    """The key lacks the permission."""


class BodyTooLargeError(SchedulerError):
    """The body, or the payload in it, is too large."""


class MethodNotAllowedError(SchedulerError):
    """The path exists, but not for this method."""

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(f"allowed here: {', '.join(allowed)}")
        self.allowed = tuple(allowed)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: in the body at a JSON pointer (RFC 6901), or in a parameter."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None

    def as_json(self) -> dict[str, str]:
        """As it is told in a problem's `errors`."""
        place = {"parameter": self.parameter} if self.parameter is not None else {"pointer": self.pointer or ""}
        return {"detail": self.detail, **place}


class InvalidRequestError(SchedulerError):
    """The request is well-formed but makes no sense."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(_told(fault) for fault in faults[:3]))
        self.faults = faults


def faults_of(error: Exception) -> tuple[Fault, ...]:
    """The faults that an error carries, at most `MOST_FAULTS`."""
    if isinstance(error, InvalidRequestError):
        return error.faults[:MOST_FAULTS]
    if isinstance(error, RequestValidationError):
        return faults_from(error.errors())
    return ()


def faults_from(found: Iterable[Mapping[str, Any]]) -> tuple[Fault, ...]:
    """Pydantic's errors as faults; their first place is `body`, `query`, `path` or `header`."""
    faults = []
    for error in list(found)[:MOST_FAULTS]:
        where, *place = error["loc"] or ("body",)
        detail = _detail(error)
        if where == "body":
            faults.append(Fault(detail, pointer=pointer(place, error)))
        else:
            faults.append(Fault(detail, parameter=str(place[0]) if place else str(where)))
    return tuple(faults)


def pointer(place: Sequence[Any], error: Mapping[str, Any] | None = None) -> str:
    """The RFC 6901 pointer of a place in the body."""
    parts = list(place)
    if len(parts) > 1 and parts[0] == "target" and parts[1] in _TARGET_TYPES:
        del parts[1]  # the tag that chose the model is no member of the body
    if error is not None and parts and parts[-1] == "[key]":
        parts.pop()
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


_TARGET_TYPES: Final = frozenset({"http", "lambda", "sqs", "sns", "eventbridge", "stepfunctions"})


def _detail(error: Mapping[str, Any]) -> str:
    kind = error["type"]
    if kind in _TEXTS:
        return _TEXTS[kind]
    message = str(error.get("msg", "is not valid"))
    return message.removeprefix("Value error, ").removeprefix("Input ")


def _told(fault: Fault) -> str:
    place = fault.parameter if fault.parameter is not None else fault.pointer
    return f"{place} {fault.detail}".strip()
