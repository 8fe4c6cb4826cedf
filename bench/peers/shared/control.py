"""The driver's side of the protocol: a line of JSON in, a line of JSON out.

A driver is started as `driver.py control OPTIONS` or `driver.py work OPTIONS`; OPTIONS is JSON: `database_url`,
`redis_url`, `receiver` (the URL to post to), `payload`, `workload`, `workers`, `folder` (for tallies). Commands:

- `{"do": "prepare"}`: an empty queue, whatever was there; answers `{"versions": {...}}`
- `{"do": "enqueue", "kind": "noop" | "post", "jobs": n, "first": i, "bulk": bool, "due": s | null, "apart": s}`:
  jobs `i` to `i + n - 1`, due at once or from `due` on, `apart` from one another; answers `{"seconds": s}`
- `{"do": "remaining"}`: how many are not recorded as done; answers `{"remaining": n}`
"""

import asyncio
import inspect
import json
import sys
import time
from importlib.metadata import version


def options():
    """What this process was started with."""
    return json.loads(sys.argv[2])


def jobs_of(command):
    """(job id, when it is due or None) of each job of an `enqueue`."""
    for number in range(command["first"], command["first"] + command["jobs"]):
        due = command.get("due")
        yield f"job-{number}", None if due is None else due + (number - command["first"]) * command["apart"]


def serve(handlers, packages):
    """Answer commands until standard input ends; handlers may be coroutines, all in one event loop."""
    asyncio.run(_serve(handlers, packages))


async def _serve(handlers, packages):
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        began = time.monotonic()
        try:
            answer = handlers[command["do"]](command)
            if inspect.isawaitable(answer):
                answer = await answer
            told = dict(answer or {})
        except Exception as error:
            told = {"error": f"{type(error).__name__}: {error}"}
        if command["do"] == "enqueue":
            told.setdefault("seconds", time.monotonic() - began)
        if command["do"] == "prepare":
            told["versions"] = {name: version(name) for name in packages}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
