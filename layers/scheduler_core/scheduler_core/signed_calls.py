"""Calls of AWS services with libcurl, which signs them itself (SigV4): importing boto3 costs half a second.

The one place that knows where credentials come from, how long a call may take, and when it is made again.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pycurl

from scheduler_core.clock import monotonic, utc_now
from scheduler_core.domain.errors import SchedulerError

_CONNECT_SECONDS: Final = 1.0
_RENEW_BEFORE: Final = timedelta(minutes=5)
_LEAST_LEFT_SECONDS: Final = 0.1
_SERVER_ERROR: Final = 500
_OK: Final = 200


class CallFailedError(SchedulerError):
    """An AWS service gave no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered, whatever the status."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Credentials:
    key_id: str
    secret: str
    token: str | None
    expires_at: datetime | None = None


def endpoint_of(service: str, region: str) -> str:
    """The public endpoint of `service` in `region`."""
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{service}.{region}.{suffix}"


class SignedCaller:
    """Calls one service; for one thread at a time. Connections are kept."""

    def __init__(self, service: str, *, region: str, endpoint: str | None, seconds: float) -> None:
        """`endpoint` None: AWS's own. `seconds` bounds a call with everything in it, a second try too."""
        self._service = service
        self._region = region
        self._endpoint = (endpoint or endpoint_of(service, region)).rstrip("/")
        self._seconds = seconds
        self._curl: pycurl.Curl | None = None
        self._credentials: _Credentials | None = None

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST `body`, again once where nothing came back or the service failed (5xx), if there is time for it.

        Raises CallFailedError where there was no answer to the last try.
        """
        ends_at = monotonic() + self._seconds
        credentials = self._signing_as(ends_at)
        url = f"{self._endpoint}{path}"
        try:
            answer = self._try(url, body, headers, credentials, ends_at)
            if answer.status < _SERVER_ERROR or _left(ends_at) < _LEAST_LEFT_SECONDS:
                return answer
        except CallFailedError:
            if _left(ends_at) < _LEAST_LEFT_SECONDS:
                raise
        return self._try(url, body, headers, credentials, ends_at)

    def _try(
        self, url: str, body: bytes, headers: Mapping[str, str], credentials: _Credentials, ends_at: float
    ) -> Answer:
        curl = self._prepared(url, ends_at)
        told = dict(headers) | ({"X-Amz-Security-Token": credentials.token} if credentials.token else {})
        curl.setopt(pycurl.POSTFIELDS, body)
        curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in told.items()])
        curl.setopt(pycurl.AWS_SIGV4, f"aws:amz:{self._region}:{self._service}")
        curl.setopt(pycurl.USERNAME, credentials.key_id)
        curl.setopt(pycurl.PASSWORD, credentials.secret)
        return _performed(curl)

    def _prepared(self, url: str, ends_at: float) -> pycurl.Curl:
        curl = self._curl = self._curl or pycurl.Curl()
        curl.reset()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.TIMEOUT_MS, max(1, round(_left(ends_at) * 1_000)))
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, round(_CONNECT_SECONDS * 1_000))
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROXY, "")
        return curl

    def _signing_as(self, ends_at: float) -> _Credentials:
        """Lambda says them in the environment, or, to a function that was restored from a snapshot, at an address."""
        key_id, address = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if key_id or not address:
            secret = os.environ.get("AWS_SECRET_ACCESS_KEY", "local")
            return _Credentials(key_id or "local", secret, os.environ.get("AWS_SESSION_TOKEN") or None)
        kept = self._credentials
        if kept is None or kept.expires_at is None or kept.expires_at - _RENEW_BEFORE <= utc_now():
            self._credentials = kept = self._fetched(address, ends_at)
        return kept

    def _fetched(self, address: str, ends_at: float) -> _Credentials:
        curl = self._prepared(address, ends_at)
        curl.setopt(pycurl.HTTPHEADER, [f"Authorization: {os.environ.get('AWS_CONTAINER_AUTHORIZATION_TOKEN', '')}"])
        answer = _performed(curl)
        if answer.status != _OK:
            raise CallFailedError(f"no credentials: their provider answered {answer.status}")
        try:
            told = json.loads(answer.body)
            expires_at = datetime.fromisoformat(told["Expiration"])
            return _Credentials(told["AccessKeyId"], told["SecretAccessKey"], told["Token"], expires_at)
        except (ValueError, KeyError, TypeError):
            raise CallFailedError("no credentials: their provider's answer makes no sense") from None


def _performed(curl: pycurl.Curl) -> Answer:
    parts: list[bytes] = []
    curl.setopt(pycurl.WRITEFUNCTION, parts.append)
    try:
        curl.perform()
    except pycurl.error as error:
        raise CallFailedError(error.args[1]) from error
    return Answer(curl.getinfo(pycurl.RESPONSE_CODE), b"".join(parts))


def _left(ends_at: float) -> float:
    return ends_at - monotonic()
