"""Calls the API's handler as Lambda would, inside one process, and says how long it took.

`python -m bench.handler_calls OPTIONS`; OPTIONS is JSON: `url`, `merchant_id`, `calls`, `batches`, `payload`,
`database_url`, `redis_url`. The environment is the function's. Each call is a whole request: parsing, validation,
storing, commit, announcing. A call for a single job and a bare insert take turns: a machine's speed drifts within
seconds, and it is their ratio that counts.
"""

import json
import os
import sys
from datetime import timedelta
from typing import Any, Final

from api.handler import lambda_handler
from bench import resources
from bench.bare_insert import BareInsert
from bench.enqueueing import authorized_event
from scheduler_core.clock import monotonic, utc_now

_WARM_CALLS: Final = 50
_BATCH: Final = 1_000
_DUE_AHEAD: Final = timedelta(seconds=80)


class _Context:
    function_name = "api"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:api"
    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 29_000


def main() -> None:
    """Measure and print."""
    options = json.loads(sys.argv[1])
    with BareInsert(options["database_url"], options["redis_url"], options["url"]) as bare:
        for _ in range(_WARM_CALLS):
            _call(options, "/jobs", _job(options)), bare()
        pairs = [(_call(options, "/jobs", _job(options)), bare()) for _ in range(options["calls"])]
    times, bare_times = (sorted(each) for each in zip(*pairs, strict=True))
    batches = [_call(options, "/jobs/batch", _jobs(options)) for _ in range(1 + options["batches"])][1:]
    figures = {
        "one_per_second": len(times) / sum(times),
        "one_p50_ms": times[len(times) // 2] * 1_000,
        "one_p99_ms": times[len(times) * 99 // 100] * 1_000,
        "bare_p50_ms": bare_times[len(bare_times) // 2] * 1_000,
        "bulk_per_second": _BATCH * len(batches) / sum(batches),
        "api_peak_bytes": resources.peak_memory(os.getpid()),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def _job(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "target": {"type": "http", "url": options["url"]},
        "payload": json.loads(options["payload"]),
        "scheduled_at": (utc_now() + _DUE_AHEAD).isoformat(),
    }


def _jobs(options: dict[str, Any]) -> dict[str, Any]:
    """A batch to one target at one time; what is sent differs from job to job."""
    one = _job(options)
    return {"jobs": [{**one, "payload": {**one["payload"], "order": number}} for number in range(_BATCH)]}


def _call(options: dict[str, Any], path: str, body: Any) -> float:
    """Seconds of one call; the event is made before, as the gateway would."""
    event = authorized_event(path, body, options["merchant_id"])
    began = monotonic()
    answer = lambda_handler(event, _Context())
    took = monotonic() - began
    if answer["statusCode"] not in (200, 201):
        raise SystemExit(f"{path} answered {answer['statusCode']}: {answer.get('body', '')[:500]}")
    return took


if __name__ == "__main__":
    main()
