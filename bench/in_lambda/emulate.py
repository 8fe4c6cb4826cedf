"""The main program of a container made from Lambda's image: cold starts under the runtime interface emulator.

Reads a plan from PLAN (JSON): `samples`, `needed` (the bare imports), `whole` (the handler's import), `handler` and
`event`. Each sample is an emulator of its own and so a new environment; bare and whole imports take turns, so that
whatever else the machine does meets both alike. Writes a JSON line for each sample, and at the end what `-X importtime`
says.
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
        for kind in ("bare", "whole"):
            told = {"sample": number, "kind": kind, **_cold_start(plan, kind)}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
    command = [PYTHON, "-X", "importtime", "-c", plan["whole"]]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - as the plan says
    sys.stdout.write(json.dumps({"kind": "importtime", "told": listed.stderr}) + "\n")


def _cold_start(plan: dict[str, Any], kind: str) -> dict[str, Any]:
    whole = kind == "whole"
    environment = {**os.environ, "PROBE_STATEMENT": plan["whole"] if whole else plan["needed"]}
    environment.pop("PLAN")
    if whole:
        environment["PROBE_HANDLER"] = plan["handler"]
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
        answer = _invoke(emulator, port, plan["event"], began + PATIENCE_SECONDS)
    finally:
        emulator.terminate()
        try:
            emulator.wait(timeout=5)
        except subprocess.TimeoutExpired:
            emulator.kill()
            emulator.wait()
    if "import_ms" not in answer:
        raise SystemExit(f"{kind}: {json.dumps(answer)}")
    return {"answered_ms": (answer.pop("at") - began) * 1_000, **answer}


def _invoke(emulator: subprocess.Popen[bytes], port: int, event: Any, deadline: float) -> dict[str, Any]:
    url = f"http://{LOOPBACK}:{port}/2015-03-31/functions/function/invocations"
    request = urllib.request.Request(url, json.dumps(event).encode(), method="POST")
    while not _answers(port):
        if emulator.poll() is not None or time.perf_counter() > deadline:
            raise SystemExit("the runtime interface emulator does not start")
        time.sleep(0.002)
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:  # noqa: S310 - loopback
        answer = json.load(response)
    return {**answer, "at": time.perf_counter()}


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
