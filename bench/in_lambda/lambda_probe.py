"""Stands in front of a handler and times what it does: Lambda's runtime client imports this module as the function.

PROBE_STATEMENT is what is imported at the environment's start, PROBE_HANDLER (`api.handler.lambda_handler`) what is
called then; without it the answer is None.
"""

import os
import sys
import time
from typing import Any

_began, _began_cpu = time.perf_counter(), time.process_time()
exec(os.environ["PROBE_STATEMENT"])  # noqa: S102 - the import to be timed, as the benchmark wrote it
IMPORT_MS, IMPORT_CPU_MS = (time.perf_counter() - _began) * 1_000, (time.process_time() - _began_cpu) * 1_000


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The inner handler's answer, and how long it and the import took."""
    module, _, name = os.environ.get("PROBE_HANDLER", "").rpartition(".")
    began = time.perf_counter()
    answer = getattr(sys.modules[module], name)(event, context) if module else None
    request_ms = (time.perf_counter() - began) * 1_000
    return {"import_ms": IMPORT_MS, "import_cpu_ms": IMPORT_CPU_MS, "request_ms": request_ms, "answer": answer}
