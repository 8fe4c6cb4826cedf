"""Asynchronous invocation of the other functions, through Lambda's Invoke API.

libcurl signs the request itself (SigV4): that saves the half second that importing boto3 costs on a cold start.
Locally the endpoint is the local invoker, which speaks the same API.
"""

import json
import os
from urllib.parse import quote

import pycurl

from scheduler_core.domain.errors import SchedulerError
from scheduler_core.settings import InvocationSettings

_ACCEPTED = 202


class InvocationError(SchedulerError):
    """Another function could not be invoked."""


class LambdaInvoker:
    """Asks Lambda to run a function, and does not wait for it."""

    def __init__(self, settings: InvocationSettings, *, timeout_ms: int = 2_000) -> None:
        self._region = settings.aws_region
        self._endpoint = (
            settings.functions_endpoint
            or settings.aws_endpoint_url_lambda
            or f"https://lambda.{settings.aws_region}.amazonaws.com"
        )
        self._timeout_ms = timeout_ms
        self._curl: pycurl.Curl | None = None

    def invoke_async(self, function: str, payload: dict[str, object] | None = None) -> None:
        """Queue one run of `function` (name or ARN). Raises InvocationError unless Lambda has accepted it."""
        curl = self._curl = self._curl or pycurl.Curl()
        curl.reset()
        headers = ["X-Amz-Invocation-Type: Event", "Content-Type: application/json"]
        if token := os.environ.get("AWS_SESSION_TOKEN"):
            headers.append(f"X-Amz-Security-Token: {token}")
        answer: list[bytes] = []
        curl.setopt(pycurl.URL, f"{self._endpoint}/2015-03-31/functions/{quote(function, safe=':')}/invocations")
        curl.setopt(pycurl.POSTFIELDS, json.dumps(payload or {}))
        curl.setopt(pycurl.HTTPHEADER, headers)
        curl.setopt(pycurl.AWS_SIGV4, f"aws:amz:{self._region}:lambda")
        curl.setopt(pycurl.USERNAME, os.environ.get("AWS_ACCESS_KEY_ID", "local"))
        curl.setopt(pycurl.PASSWORD, os.environ.get("AWS_SECRET_ACCESS_KEY", "local"))
        curl.setopt(pycurl.TIMEOUT_MS, self._timeout_ms)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROXY, "")
        curl.setopt(pycurl.WRITEFUNCTION, answer.append)
        try:
            curl.perform()
        except pycurl.error as error:
            raise InvocationError(f"{function}: {error.args[1]}") from error
        status = curl.getinfo(pycurl.RESPONSE_CODE)
        if status != _ACCEPTED:
            raise InvocationError(f"{function}: Lambda answered {status}: {b''.join(answer)[:200]!r}")
