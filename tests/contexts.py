"""What Lambda tells a handler of its invocation."""

from typing import cast

from aws_lambda_powertools.utilities.typing import LambdaContext

from scheduler_core.clock import monotonic


class _Context:
    function_name = "function"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:function"
    aws_request_id = "11111111-2222-3333-4444-555555555555"

    def __init__(self, seconds: float) -> None:
        self._ends_at = monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, round((self._ends_at - monotonic()) * 1_000))


def a_context(seconds: float = 60) -> LambdaContext:
    """An invocation that ends after `seconds`."""
    return cast("LambdaContext", _Context(seconds))
