"""The inside of one function's process: what Lambda's Python runtime is to a handler.

Run as `python -m hosting.runtime <descriptor>`. The handler is imported once, then invocations come one at a time over
the socket with that descriptor. The end of the socket, or of the parent, is the end of the process. SIGTERM keeps its
default meaning unless the handler's own code gives it another.
"""

import importlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from hosting import frames, parent

Handler = Callable[[dict[str, Any], "Context"], Any]


class Context:
    """The context object of one invocation, with the attributes that Lambda's has."""

    def __init__(self, request_id: str, deadline_ms: int) -> None:
        self.aws_request_id = request_id
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        region = os.environ["AWS_REGION"]
        self.invoked_function_arn = f"arn:aws:lambda:{region}:123456789012:function:{self.function_name}"
        self.client_context = None
        self.identity = None
        self._deadline_ms = deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation is killed."""
        return max(0, self._deadline_ms - time.time_ns() // 1_000_000)


def main() -> None:
    """Serve until the other side is gone."""
    parent.end_with(int(os.environ.pop("STACK_PID")))
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # never replaced here
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        handler = _load(os.environ["_HANDLER"])
    except Exception as error:  # noqa: BLE001 - whatever an import raises is the answer
        _print(error)
        channel.sendall(frames.pack({"error": _described(error)}))
        sys.exit(1)
    try:
        channel.sendall(frames.pack({"ready": True}))
        while (invocation := frames.receive(channel)) is not None:
            channel.sendall(_answer(handler, invocation))
    except ConnectionError:
        return  # whoever asked is gone


def _load(path: str) -> Handler:
    module, _, name = path.rpartition(".")
    handler: Handler = getattr(importlib.import_module(module), name)
    return handler


def _answer(handler: Handler, invocation: dict[str, Any]) -> bytes:
    context = Context(invocation["request_id"], invocation["deadline_ms"])
    os.environ["_X_AMZN_TRACE_ID"] = invocation.get("trace_id", "")
    try:
        return frames.pack({"result": handler(invocation["event"], context)})
    except Exception as error:  # noqa: BLE001 - a handler's failure is the invocation's result
        _print(error)
        return frames.pack({"error": _described(error) | {"requestId": context.aws_request_id}})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _described(error: Exception) -> dict[str, Any]:
    return {
        "errorType": type(error).__name__,
        "errorMessage": str(error),
        "stackTrace": traceback.format_list(_frames(error)),
    }


def _print(error: Exception) -> None:
    sys.stderr.write(f"[ERROR] {type(error).__name__}: {error}\n{''.join(traceback.format_list(_frames(error)))}")


def _frames(error: Exception) -> list[traceback.FrameSummary]:
    """Where it happened, without what is ours or the import system's."""
    machinery = (__file__, "importlib")
    return [f for f in traceback.extract_tb(error.__traceback__) if not any(name in f.filename for name in machinery)]


if __name__ == "__main__":
    main()
