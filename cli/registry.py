"""Where operators' commands are done: in a database that is reached from here, or by the migrator function in AWS.

The API has no routes for merchants and keys, on purpose.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from cli.connection import signing_key
from cli.exits import CommandError, ExitCode
from scheduler_core.clock import utc_now
from scheduler_core.domain.errors import (
    ConflictError,
    DatabaseUnavailableError,
    MigrationError,
    NotFoundError,
    SchedulerError,
    SecretUnavailableError,
)
from scheduler_core.services.operating import Desk, OperationRefusedError, operate
from scheduler_core.storage.database import Database, Role

_CODES: Final[dict[type[SchedulerError], ExitCode]] = {
    ConflictError: ExitCode.CONFLICT,
    DatabaseUnavailableError: ExitCode.UNAVAILABLE,
    MigrationError: ExitCode.CONFLICT,
    NotFoundError: ExitCode.NOT_FOUND,
    OperationRefusedError: ExitCode.INVALID,
    SecretUnavailableError: ExitCode.UNAVAILABLE,
}
_REFUSALS: Final = {
    "AccessDeniedException": ExitCode.NOT_AUTHORISED,
    "ExpiredTokenException": ExitCode.NOT_AUTHORISED,
    "ResourceNotFoundException": ExitCode.NOT_FOUND,
    "UnrecognizedClientException": ExitCode.NOT_AUTHORISED,
}
_REGION: Final = 3
_SECONDS: Final = 310
"""A little more than the migrator's own time-out."""


def ask_database(url: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Do `command` in the database at `url`; every failure is a CommandError."""
    database = Database(url, Role.WORKER)
    try:
        with translated(), database.transaction() as connection:
            return operate(command, arguments, Desk(connection, utc_now(), os.urandom, signing_key))
    finally:
        database.close()


def ask_function(function: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """Invoke the migrator function and wait; credentials as boto3 finds them, and the region of a name's too.

    An ARN says its region itself. Every failure is a CommandError.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        region = function.split(":")[_REGION] if function.startswith("arn:") else None
        client = boto3.client(
            "lambda", region_name=region, config=Config(read_timeout=_SECONDS, retries={"total_max_attempts": 1})
        )
        answered = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        told: dict[str, Any] = json.loads(answered["Payload"].read())
    except (BotoCoreError, ClientError) as error:
        refusal = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
        code = _REFUSALS.get(refusal, ExitCode.UNAVAILABLE)
        raise CommandError(code, f"{function} could not be invoked.", str(error)) from error
    if "FunctionError" in answered:
        raise CommandError(ExitCode.UNAVAILABLE, f"{function} failed.", str(told.get("errorMessage", "")) or None)
    if "error" in told:
        fault = told["error"]
        code = next((code for kind, code in _CODES.items() if kind.__name__ == fault["kind"]), ExitCode.FAILED)
        raise CommandError(code, fault["title"] or "The operation failed.", fault["detail"])
    return told


@contextmanager
def translated() -> Iterator[None]:
    """Turns what storage raises into a CommandError."""
    try:
        yield
    except SchedulerError as error:
        code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), ExitCode.FAILED)
        raise CommandError(code, type(error).__doc__ or "The operation failed.", str(error) or None) from error
