"""Runs LocalStack 4.14 with the Python of its own environment: `.tools/localstack/bin/python -P localstack_main.py`.

It is written for Python 3.13 in two places: it imports `warnings.deprecated` (SQS), and writes `threading.Lock | None`
(Step Functions), for which `Lock` has to be a class.
"""

import _thread
import runpy
import threading
import warnings
from typing import Any

if not hasattr(warnings, "deprecated"):
    from typing_extensions import deprecated

    warnings.deprecated = deprecated  # type: ignore[attr-defined]  # that is why

if not isinstance(threading.Lock, type):

    class Lock:
        """Makes the interpreter's own locks, as the function of this name did."""

        def __new__(cls) -> Any:
            return _thread.allocate_lock()

    threading.Lock = Lock

if __name__ == "__main__":
    runpy.run_module("localstack.runtime.main", run_name="__main__", alter_sys=True)
