"""Exit codes that scripts can use, and the one exception that carries them."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final


class ExitCode(IntEnum):
    """What the process answers; `--help` prints this table."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    NOT_AUTHORISED = 5
    INVALID = 6
    UNAVAILABLE = 7
    INTERRUPTED = 130


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "the operation failed (a watched job failed, a benchmark broke its bound)",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.NOT_FOUND: "there is no such thing",
    ExitCode.CONFLICT: "it exists already, or its state does not allow this",
    ExitCode.NOT_AUTHORISED: "the key is missing, wrong, expired, or lacks a permission",
    ExitCode.INVALID: "the input was refused",
    ExitCode.UNAVAILABLE: "the service or a store does not answer, or asks to come back later",
    ExitCode.INTERRUPTED: "Ctrl-C",
}

_OF_STATUS: Final[dict[int, ExitCode]] = {
    401: ExitCode.NOT_AUTHORISED,
    403: ExitCode.NOT_AUTHORISED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    429: ExitCode.UNAVAILABLE,
}


class CommandError(Exception):
    """A command could not do what was asked. `faults` are `(JSON pointer or parameter, what is wrong there)`."""

    def __init__(
        self,
        code: ExitCode,
        title: str,
        detail: str | None = None,
        *,
        status: int | None = None,
        faults: Sequence[tuple[str, str]] = (),
        retry_after: str | None = None,
    ) -> None:
        super().__init__(title)
        self.code = code
        self.title = title
        self.detail = detail
        self.status = status
        self.faults = tuple(faults)
        self.retry_after = retry_after

    def as_json(self) -> dict[str, Any]:
        """The error as a script reads it from stderr."""
        return {
            "exit_code": int(self.code),
            "title": self.title,
            "detail": self.detail,
            "status": self.status,
            "errors": [{"place": place, "detail": detail} for place, detail in self.faults],
            "retry_after": self.retry_after,
        }


def error_of_problem(status: int, problem: Mapping[str, Any], retry_after: str | None = None) -> CommandError:
    """The error for an answer of `status` with an RFC 9457 body (or an empty one, where there was none)."""
    detail = problem.get("detail")
    return CommandError(
        code_of_status(status),
        str(problem.get("title") or problem.get("message") or f"The service answered {status}."),
        None if detail is None else str(detail),
        status=status,
        faults=[(_place(fault), str(fault.get("detail", ""))) for fault in problem.get("errors") or ()],
        retry_after=retry_after,
    )


def _place(fault: Mapping[str, Any]) -> str:
    return str(fault.get("pointer") or fault.get("parameter") or "")


def code_of_status(status: int) -> ExitCode:
    """The exit code for an HTTP status of 400 or more (or a redirect, which this service never sends)."""
    if status in _OF_STATUS:
        return _OF_STATUS[status]
    return ExitCode.INVALID if 400 <= status < 500 else ExitCode.UNAVAILABLE
