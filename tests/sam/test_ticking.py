"""`scheduler tick` through `sam local start-lambda`: the schedules of the template, in SAM's containers."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from dev import processes
from dev.local_environment import ROOT
from dev.sam.building import ENVIRONMENT, variables_for
from dev.sam.running import Prepared
from dev.sam.steps import answer_of, environment_with
from scheduler_core.clock import utc_now
from tests.builders import http_target, job_row, store_jobs, store_merchant

_READY_SECONDS = 180.0


@pytest.fixture(scope="module")
def start_lambda(prepared: Prepared, folder: Path) -> Iterator[str]:
    """Lambda's Invoke API over SAM's containers, whose deliveries may go to their own network."""
    told = variables_for(prepared.stores, prepared.signing_key)
    told["ALLOWED_TARGET_NETWORKS"] = "172.16.0.0/12,192.168.0.0/16,10.0.0.0/8"
    variables = folder / "start-lambda-env.json"
    variables.write_text(json.dumps({"Parameters": told}))
    port = processes.free_port()
    command = prepared.built.command("start-lambda", "--port", port, "--warm-containers", "LAZY")
    command[command.index("--env-vars") + 1] = str(variables)
    with (folder / "start-lambda.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment_with(ENVIRONMENT),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            ready = processes.wait_until(lambda: processes.answers(port) or process.poll() is not None, _READY_SECONDS)
            assert ready, "it does not listen"
            assert process.poll() is None, processes.tail(Path(log.name), 30)
            yield f"http://127.0.0.1:{port}"
        finally:
            _end(process)
    mark, network = "label=sam.cli.container.type=lambda", f"network={prepared.stores.network}"
    assert answer_of("docker", "ps", "-aq", "--filter", mark, "--filter", network, cwd=ROOT) == ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """SAM loses a signal that comes while it handles something: it was seen to serve on. So it is told every 15 s."""

    def has_ended() -> bool:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        return process.poll() is not None

    assert processes.wait_until(has_ended, 60), "it does not end"


def test_a_round_of_ticks_delivers_what_is_due(prepared: Prepared, start_lambda: str) -> None:
    database_url = prepared.stores.database_url(inside=False)
    target = http_target("http://localstack:4566/_localstack/health", method="GET")
    merchant_id = store_merchant(database_url)
    (job_id,) = store_jobs(database_url, merchant_id, now=utc_now(), target=target)
    ticked = subprocess.run(
        [sys.executable, "-m", "cli.main", "tick", "--once", "--json", "--through", start_lambda],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert ticked.returncode == 0, ticked.stdout + ticked.stderr
    answers = json.loads(ticked.stdout)
    assert list(answers) == ["recurrence", "populator", "executor", "watcher"]
    assert answers["populator"]["announced"] == 1
    assert answers["executor"]["claimed"] == 1
    assert job_row(database_url, job_id)["status"] == "completed"


def test_a_function_that_fails_is_told(start_lambda: str) -> None:
    unknown = httpx.post(
        f"{start_lambda}/2015-03-31/functions/Nobody/invocations", json={}, trust_env=False, timeout=30
    )
    assert unknown.status_code == 404
