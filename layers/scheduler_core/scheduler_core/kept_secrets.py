"""Passwords and keys: given outright, or kept in AWS Secrets Manager and read at first use, once per environment.

Whoever uses a secret says when it was refused: it is read again then, so that a rotation needs no restart.
"""

import json
import threading
from collections.abc import Callable
from functools import cache
from typing import Final, Protocol

from pydantic import SecretStr

from scheduler_core.clock import monotonic
from scheduler_core.domain.errors import SecretUnavailableError
from scheduler_core.settings import SecretsSettings

PAUSE_SECONDS: Final = 1.0
"""How long Secrets Manager is left alone after it failed, or after it knew nothing newer than what was refused."""
_CALL_SECONDS: Final = 3.0
_OK: Final = 200
_ARN_PARTS: Final = 7
_REGION: Final = 3


class Secret(Protocol):
    """A value that nobody logs."""

    def value(self) -> str:
        """Raises SecretUnavailableError."""

    def after_refusal(self, refused: str) -> str | None:
        """A newer value than `refused`; None: there is none. Raises SecretUnavailableError."""


class GivenSecret:
    """A value that was given outright: it never changes."""

    def __init__(self, value: str) -> None:
        self._value = value

    def value(self) -> str:
        return self._value

    def after_refusal(self, refused: str) -> str | None:  # noqa: ARG002 - the protocol's
        return None


class KeptSecret:
    """A value kept elsewhere, shared by all threads; `read` fetches it and raises SecretUnavailableError."""

    def __init__(self, read: Callable[[], str], *, clock: Callable[[], float] = monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._value: str | None = None
        self._trouble = ""
        self._paused_until = -PAUSE_SECONDS

    def value(self) -> str:
        with self._lock:
            return self._value if self._value is not None else self._fetch()

    def after_refusal(self, refused: str) -> str | None:
        with self._lock:
            if self._value is not None and self._value != refused:
                return self._value  # another thread was quicker
            if self._clock() < self._paused_until:
                return None
            newer = self._fetch()
            if newer != refused:
                return newer
            self._paused_until = self._clock() + PAUSE_SECONDS
            return None

    def _fetch(self) -> str:
        if self._trouble and self._clock() < self._paused_until:
            raise SecretUnavailableError(self._trouble)
        try:
            self._value = self._read()
        except SecretUnavailableError as error:
            self._trouble, self._paused_until = str(error), self._clock() + PAUSE_SECONDS
            raise
        self._trouble = ""
        return self._value


def secret_of(given: SecretStr | None, arn: str | None, settings: SecretsSettings) -> Secret:
    """The secret that was given, else the one kept under `arn`. Nothing is read yet."""
    if given is not None:
        return GivenSecret(given.get_secret_value())
    if arn is None:
        raise SecretUnavailableError("neither a value nor an ARN was given")
    return _kept(arn, settings.aws_region, settings.aws_endpoint_url_secrets_manager)


@cache
def _kept(arn: str, region: str, endpoint: str | None) -> KeptSecret:
    parts = arn.split(":")
    of_arn = parts[_REGION] if len(parts) >= _ARN_PARTS else region
    return KeptSecret(lambda: read_secret(arn, region=of_arn, endpoint=endpoint))


def read_secret(secret_id: str, *, region: str, endpoint: str | None = None) -> str:
    """The current value of the secret with this ARN or name. Raises SecretUnavailableError, which says why."""
    # Only who keeps secrets there pays for libcurl.
    from scheduler_core.signed_calls import CallFailedError, SignedCaller

    caller = SignedCaller("secretsmanager", region=region, endpoint=endpoint, seconds=_CALL_SECONDS)
    headers = {"X-Amz-Target": "secretsmanager.GetSecretValue", "Content-Type": "application/x-amz-json-1.1"}
    try:
        answer = caller.post("/", json.dumps({"SecretId": secret_id}).encode(), headers)
    except CallFailedError as error:
        raise SecretUnavailableError(f"{secret_id}: {error}") from error
    if answer.status != _OK:
        raise SecretUnavailableError(f"{secret_id}: {_refusal(answer.status, answer.body)}")
    return _value(secret_id, answer.body)


def _value(secret_id: str, body: bytes) -> str:
    try:
        value = json.loads(body).get("SecretString")
    except (ValueError, AttributeError):
        raise SecretUnavailableError(f"{secret_id}: the answer makes no sense") from None  # the cause would quote it
    if not isinstance(value, str) or not value.strip():
        raise SecretUnavailableError(f"{secret_id}: it has no SecretString")
    return value.strip()


def _refusal(status: int, body: bytes) -> str:
    try:
        told = json.loads(body)
        kind, message = str(told.get("__type", "")), str(told.get("message") or told.get("Message") or "")
    except (ValueError, AttributeError):
        kind, message = "", ""
    return f"Secrets Manager answered {status} {kind.rpartition('#')[2]} {message[:300]}".strip()
