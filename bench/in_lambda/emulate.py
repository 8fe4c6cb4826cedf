"""The main program of a container made from Lambda's image: cold starts under the runtime interface emulator.

Reads a plan from PLAN (JSON): `samples`, `starts` (each with `kind`, `statement` to import, and perhaps a `handler` to
call), `event`, and `listed`, a statement to list the imports of. Each sample is an emulator of its own and so a new
environment; the starts take turns, so that whatever else the machine does meets all of them alike. Writes a JSON line
for each sample, and at the end what `-X importtime` says of `listed`.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from typing import Any

EMULATOR = "/bench/aws-lambda-rie"
BOOTSTRAP = "/var/runtime/bootstrap"
PYTHON = "/var/lang/bin/python3.12"
LOOPBACK = "127.0.0.1"
PATIENCE_SECONDS = 60.0


def main() -> None:
    """Run the plan."""
    plan = json.loads(os.environ["PLAN"])
    for number in range(-1, plan["samples"]):  # the first of each reads files from disk and is not counted
        for start in plan["starts"]:
            told = {"sample": number, "kind": start["kind"], **_cold_start(start, plan["event"])}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
    command = [PYTHON, "-X", "importtime", "-c", plan["listed"]]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - as the plan says
    sys.stdout.write(json.dumps({"kind": "importtime", "told": listed.stderr}) + "\n")


def _cold_start(start: dict[str, str], event: Any) -> dict[str, Any]:
    environment = {
        **os.environ,
        "PROBE_STATEMENT": start["statement"],
        "PROBE_HANDLER": start.get("handler", ""),
        "PLAN": "",
    }
    port, inner = _free_port(), _free_port()
    command = [
        *(EMULATOR, "--log-level", "error"),
        *("--runtime-interface-emulator-address", f"{LOOPBACK}:{port}"),
        *("--runtime-api-address", f"{LOOPBACK}:{inner}"),
        *(BOOTSTRAP, "lambda_probe.handler"),
    ]
    began = time.perf_counter()
    emulator = subprocess.Popen(  # noqa: S603 - the emulator that was mounted
        command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=sys.stderr
    )
    try:
        answer = _invoke(emulator, port, event, began + PATIENCE_SECONDS)
    finally:
        emulator.terminate()
        try:
            emulator.wait(timeout=5)
        except subprocess.TimeoutExpired:
            emulator.kill()
            emulator.wait()
    if "import_ms" not in answer:
        raise SystemExit(f"{start['kind']}: {json.dumps(answer)}")
    return {"answered_ms": (answer.pop("at") - began) * 1_000, **answer}


def _invoke(emulator: subprocess.Popen[bytes], port: int, event: Any, deadline: float) -> dict[str, Any]:
    url = f"http://{LOOPBACK}:{port}/2015-03-31/functions/function/invocations"
    request = urllib.request.Request(url, json.dumps(event).encode(), method="POST")
    while not _answers(port):
        if emulator.poll() is not None or time.perf_counter() > deadline:
            raise SystemExit("the runtime interface emulator does not start")
        time.sleep(0.002)
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:  # noqa: S310 - loopback
        body = response.read()
    at = time.perf_counter()
    try:
        return {**json.loads(body), "at": at}
    except (TypeError, ValueError):
        raise SystemExit(f"the function's answer is {body[:500]!r}") from None


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.2):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
