"""Everything that goes wrong, as RFC 9457 problem details: the one table from error class to HTTP."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError as NoSuchRouteError
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError

from api.faults import BodyTooLargeError, Fault, ForbiddenError, InvalidRequestError, UnauthenticatedError, faults_of
from api.faults import MethodNotAllowedError as WrongMethodError
from scheduler_core.domain import errors
from scheduler_core.observability.log import logger

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How an error class is answered. `tells`: the error's own text was written for the producer."""

    status: int
    title: str
    tells: bool = True
    retry_after_seconds: int | None = None


_TABLE: Final[Mapping[type[Exception], _Kind]] = {
    UnauthenticatedError: _Kind(401, "An API key is needed"),
    ForbiddenError: _Kind(403, "This key does not allow that"),
    NoSuchRouteError: _Kind(404, "There is nothing here", tells=False),
    errors.NotFoundError: _Kind(404, "There is no such resource"),
    WrongMethodError: _Kind(405, "This method is not allowed here"),
    errors.StaleTransitionError: _Kind(409, "The state does not allow this"),
    errors.ConflictError: _Kind(409, "Another resource stands in the way"),
    BodyTooLargeError: _Kind(413, "The request is too large"),
    InvalidRequestError: _Kind(422, "The request is not valid"),
    RequestValidationError: _Kind(422, "The request is not valid", tells=False),
    errors.InvalidScheduleError: _Kind(422, "The schedule is not valid"),
    errors.TargetRefusedError: _Kind(422, "This target is not allowed"),
    errors.IdempotencyMismatchError: _Kind(422, "This idempotency key was used with another request"),
    errors.RateLimitedError: _Kind(429, "Too many requests", retry_after_seconds=1),
    errors.StoreUnavailableError: _Kind(
        503, "A store is away for the moment; try again", tells=False, retry_after_seconds=5
    ),
}
_UNKNOWN: Final = _Kind(500, "Something went wrong on our side", tells=False)


def answer(error: Exception) -> Response[str]:
    """The problem response for any error. What is our fault is logged, once, with its cause, and not told."""
    if isinstance(error, RequestValidationError) and any(found["loc"][:1] == ("path",) for found in error.errors()):
        error = errors.NotFoundError("the id in the path is not an id")
    kind = next((_TABLE[cls] for cls in type(error).__mro__ if cls in _TABLE), _UNKNOWN)
    if kind is _UNKNOWN:
        logger.error("a request failed", exc_info=error)
    elif isinstance(error, errors.StoreUnavailableError):
        logger.warning("a store is away", extra={"store_error": type(error).__name__, "cause": repr(error.__cause__)})
    headers = {}
    if kind.retry_after_seconds is not None:
        headers["Retry-After"] = str(kind.retry_after_seconds)
    if isinstance(error, WrongMethodError):
        headers["Allow"] = ", ".join(error.allowed)
    return problem(kind.status, kind.title, str(error) if kind.tells else None, faults_of(error), headers)


def store_down(stores: Mapping[str, str]) -> Response[str]:
    """The health check's own 503, which says how each store is."""
    kind = _TABLE[errors.StoreUnavailableError]
    down = " and ".join(name for name, word in stores.items() if word == "down")
    headers = {"Retry-After": str(kind.retry_after_seconds)}
    return problem(kind.status, kind.title, f"down: {down}", headers=headers, stores=dict(stores))


def problem(
    status: int,
    title: str,
    detail: str | None = None,
    faults: tuple[Fault, ...] = (),
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response[str]:
    """A problem response; `more` are members of its own (RFC 9457, 3.2)."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if detail:
        body["detail"] = detail
    if faults:
        body["errors"] = [fault.as_json() for fault in faults]
    return Response(status, MEDIA_TYPE, json.dumps(body | more), headers=dict(headers or {}))
