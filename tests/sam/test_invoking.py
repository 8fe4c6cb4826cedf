"""`sam local invoke` of every function, with its sample event, against real stores."""

import json
import subprocess

import pytest

from dev.local_environment import ROOT
from dev.sam.building import ENVIRONMENT
from dev.sam.running import Prepared
from dev.sam.steps import environment_with
from hosting.template import Function, read_template
from tests.sample_events import ANSWERS, EVENTS

FUNCTIONS = read_template(ROOT / "template.yaml").functions


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_the_function_answers_its_sample_event(prepared: Prepared, function: Function) -> None:
    event = EVENTS / f"{function.name}.json"
    command = prepared.built.command("invoke", function.logical_id, "--event", event, "--region", "us-east-1")
    invoked = subprocess.run(
        command,
        cwd=ROOT,
        env=environment_with(ENVIRONMENT),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    said = f"{invoked.stdout}\n{invoked.stderr}"
    assert invoked.returncode == 0, said
    answered = invoked.stdout.strip().splitlines()
    assert answered, said
    answer = json.loads(answered[-1])
    assert ANSWERS[function.name](answer), said
