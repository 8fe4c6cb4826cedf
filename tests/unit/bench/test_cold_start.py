"""Cold starts: what is asked first, and how a start is timed and judged."""

import json
import os
import subprocess
import sys
from typing import Any
from uuid import UUID

import pytest

from bench.cold_start import ColdStart
from bench.first_events import FIRST_EVENTS, Producer, is_good
from bench.footprint import ImportTimes
from hosting.template import read_template
from tests.builders import NOW
from tests.conftest import ROOT

PRODUCER = Producer(merchant_id=UUID(int=7), api_key="ts_local_id_secret")
PROBE = ROOT / "bench" / "in_lambda"


def probed(statement: str, handler: str | None, event: object) -> dict[str, Any]:
    """What the probe answers as a function."""
    program = f"import json, lambda_probe; print(json.dumps(lambda_probe.handler({event!r}, 'context')))"
    environment = {"PROBE_STATEMENT": statement, "PYTHONPATH": str(PROBE), "PATH": os.environ["PATH"]}
    if handler:
        environment["PROBE_HANDLER"] = handler
    told = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    answer: dict[str, Any] = json.loads(told)
    return answer


def test_every_function_is_asked_something_and_its_answer_judged() -> None:
    functions = {function.name for function in read_template(ROOT / "template.yaml").functions}
    assert set(FIRST_EVENTS) == functions
    for function in functions:
        assert json.dumps(FIRST_EVENTS[function](PRODUCER, NOW))
        assert not is_good(function, None)
        assert not is_good(function, {"errorMessage": "it broke", "statusCode": 500})


def test_the_first_job_is_due_too_late_to_wake_anybody() -> None:
    event = FIRST_EVENTS["api"](PRODUCER, NOW)
    assert event["requestContext"]["authorizer"]["lambda"]["merchant_id"] == str(PRODUCER.merchant_id)
    assert json.loads(event["body"])["scheduled_at"] == "2026-11-23T13:00:00+00:00"


def test_the_probe_imports_calls_and_times() -> None:
    answer = probed("import os.path", "os.path.join", "a")
    assert answer["answer"] == "a/context"
    assert answer["import_ms"] >= 0
    assert answer["request_ms"] >= 0


def test_the_probe_without_a_handler_only_imports() -> None:
    answer = probed("import decimal", None, {})
    assert answer["answer"] is None
    assert answer["import_ms"] >= answer["import_cpu_ms"] * 0.5


@pytest.mark.parametrize(("ratio", "too_slow"), [(1.0, False), (1.25, False), (1.26, True)])
def test_an_import_of_more_than_what_is_needed_is_too_slow(ratio: float, too_slow: bool) -> None:
    imports = ImportTimes(total_ms=5.0, packages=[(name, 1.0) for name in "abcdef"])
    start = ColdStart(
        function="api", samples=10, bare_ms=100.0, import_ms=110.0, request_ms=5.0, answered_ms=300.0,
        ratio=ratio, imports=imports,
    )  # fmt: skip
    assert start.too_slow is too_slow
    assert list(start.as_json()["biggest_imports"]) == list("abcde")
