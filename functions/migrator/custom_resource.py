"""The migrator as a custom resource of CloudFormation: a deploy waits for its answer, and fails with it.

The answer goes to an S3 address that is signed already. It is given in every case that this code lives to see, an
error and the end of the invocation's time among them; otherwise the deploy would wait until its own time-out.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pycurl

from scheduler_core.domain.errors import MigrationError, SchedulerError, StoreUnavailableError

MOST_BYTES: Final = 4_096
"""CloudFormation's limit of an answer."""
MOST_REASON: Final = 400
"""Characters of a reason: it is read in a list of events."""
ANSWER_SECONDS: Final = 5.0
"""The longest that one try to answer may take; there are two."""
_RESOURCE_ID: Final = "database-schema"
_OK: Final = 200


class AnswerLostError(SchedulerError):
    """CloudFormation could not be told how it went."""


@dataclass(frozen=True, slots=True)
class Done:
    """It is as it was asked for."""

    applied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """It is not, for this reason."""

    reason: str


Outcome = Done | Failed


def serve(event: Mapping[str, Any], migrate: Callable[[], list[str]], *, log_stream: str = "") -> Outcome:
    """Do what CloudFormation asks and tell it how that went. Raises AnswerLostError: invoke again, it does no harm."""
    outcome = outcome_of(event, migrate)
    put(str(event["ResponseURL"]), answer_to(event, outcome, log_stream=log_stream))
    return outcome


def outcome_of(event: Mapping[str, Any], migrate: Callable[[], list[str]]) -> Outcome:
    """Create and Update migrate; Delete leaves the data alone, and whoever wants them gone drops the database."""
    if event.get("RequestType") == "Delete":
        return Done()
    if event.get("RequestType") not in {"Create", "Update"}:
        return Failed("there is only Create, Update and Delete")
    try:
        return Done(tuple(migrate()))
    except Exception as error:  # noqa: BLE001 - whatever it is, the deploy must hear of it
        return Failed(reason_of(error))


def reason_of(error: Exception) -> str:
    """One short line. Of an error that nobody foresaw only the kind: its text may quote anything."""
    if isinstance(error, MigrationError):
        told = str(error)
    elif isinstance(error, StoreUnavailableError):
        told = f"{type(error).__doc__} {error.__cause__ or error}"
    else:
        told = f"an unforeseen {type(error).__name__}"
    return _first_line(told)


def answer_to(event: Mapping[str, Any], outcome: Outcome, *, log_stream: str = "") -> bytes:
    """The answer's body, at most `MOST_BYTES`. The resource keeps its id, or CloudFormation would replace it."""
    answer: dict[str, Any] = {
        "Status": "SUCCESS",
        "PhysicalResourceId": event.get("PhysicalResourceId") or _RESOURCE_ID,
        "StackId": event.get("StackId", ""),
        "RequestId": event.get("RequestId", ""),
        "LogicalResourceId": event.get("LogicalResourceId", ""),
    }
    match outcome:
        case Done(applied):
            answer["Data"] = {"Applied": len(applied)}
        case Failed(reason):
            more = f" (log stream {log_stream})" if log_stream else ""
            answer |= {"Status": "FAILED", "Reason": reason[:MOST_REASON] + more}
    body = _packed(answer)
    while len(body) > MOST_BYTES and answer.get("Reason"):
        answer["Reason"] = answer["Reason"][: len(answer["Reason"]) // 2]
        body = _packed(answer)
    return body


def put(url: str, body: bytes) -> None:
    """PUT to an address that is signed already: any header more, a content type too, would break its signature.

    Raises AnswerLostError after two tries.
    """
    told = ""
    for _ in range(2):
        try:
            status = _put_once(url, body)
        except pycurl.error as error:
            told = error.args[1]
            continue
        if status == _OK:
            return
        told = f"it answered {status}"
    raise AnswerLostError(told)


def _put_once(url: str, body: bytes) -> int:
    curl = pycurl.Curl()
    try:
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.CUSTOMREQUEST, "PUT")
        curl.setopt(pycurl.POSTFIELDS, body)
        curl.setopt(pycurl.HTTPHEADER, ["Content-Type:", "Accept:", "Expect:"])
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.TIMEOUT_MS, round(ANSWER_SECONDS * 1_000))
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROXY, "")
        curl.setopt(pycurl.WRITEFUNCTION, lambda _: None)
        curl.perform()
        return int(curl.getinfo(pycurl.RESPONSE_CODE))
    finally:
        curl.close()


def _packed(answer: Mapping[str, Any]) -> bytes:
    return json.dumps(answer).encode()


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:MOST_REASON]
