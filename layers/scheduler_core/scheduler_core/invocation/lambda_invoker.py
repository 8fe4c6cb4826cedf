"""Asynchronous invocation of the other functions, through Lambda's Invoke API.

Locally the endpoint is the local invoker, which speaks the same API.
"""

import json
from typing import Final
from urllib.parse import quote

from scheduler_core.domain.errors import SchedulerError
from scheduler_core.settings import InvocationSettings
from scheduler_core.signed_calls import CallFailedError, SignedCaller

_ACCEPTED: Final = 202
_TOO_MANY: Final = 429
_HEADERS: Final = {"X-Amz-Invocation-Type": "Event", "Content-Type": "application/json"}


class InvocationError(SchedulerError):
    """Another function could not be invoked."""


class LambdaInvoker:
    """Asks Lambda to run a function, and does not wait for it."""

    def __init__(self, settings: InvocationSettings, *, timeout_ms: int = 2_000) -> None:
        """`timeout_ms` bounds one `invoke_async` with everything in it, a second try too."""
        self._caller = SignedCaller(
            "lambda",
            region=settings.aws_region,
            endpoint=settings.functions_endpoint or settings.aws_endpoint_url_lambda,
            seconds=timeout_ms / 1_000,
        )

    def invoke_async(self, function: str, payload: dict[str, object] | None = None) -> bool:
        """Queue one run of `function`: a name, an ARN, or either with an alias or a version.

        False: Lambda takes no more of them for the moment (429), which is an answer, not a failure: enough have been
        asked for. A function at its reserved concurrency is not told so: Lambda takes an asynchronous invocation with
        202 and keeps it for up to six hours. Raises InvocationError for every other answer, and for none.
        """
        # Every colon of an ARN is encoded, as AWS's own clients do: signer and Lambda then read the path alike.
        path = f"/2015-03-31/functions/{quote(function, safe='')}/invocations"
        try:
            answer = self._caller.post(path, json.dumps(payload or {}).encode(), _HEADERS)
        except CallFailedError as error:
            raise InvocationError(f"{function}: {error}") from error
        if answer.status in (_ACCEPTED, _TOO_MANY):
            return answer.status == _ACCEPTED
        raise InvocationError(f"{function}: Lambda answered {answer.status}: {answer.body[:200]!r}")
