"""What a cold start pays for: nothing that the function does not use, and little besides what it cannot do without."""

import subprocess
import sys

import pytest

from bench.imports import MOST_RATIO, NEEDED, UNUSED, measure, modules_of
from hosting.template import read_template
from tests.conftest import ROOT


def test_every_function_says_what_it_needs() -> None:
    assert {function.name for function in read_template(ROOT / "template.yaml").functions} == set(NEEDED)


@pytest.mark.parametrize("function", sorted(NEEDED))
def test_nothing_is_imported_at_start_that_the_function_does_not_use(function: str) -> None:
    loaded = modules_of(function)
    assert sorted(loaded.intersection(UNUSED)) == []
    drivers = {name for name in ("redis", "psycopg", "pycurl") if name in loaded}
    assert drivers == {name for name in ("redis", "psycopg", "pycurl") if name in NEEDED[function]}
    assert ("aws_lambda_powertools.event_handler" in loaded) == (function == "api")


@pytest.mark.parametrize("function", sorted(NEEDED))
def test_an_import_costs_little_more_than_what_the_function_needs(function: str) -> None:
    for rounds in (2, 8, 24):  # other work on the machine: only what a longer look confirms counts
        cost = measure(function, rounds=rounds)
        if cost.ratio <= MOST_RATIO:
            break
    assert cost.ratio <= MOST_RATIO, cost


def test_the_asynchronous_half_of_redis_py_is_there_for_whoever_asks() -> None:
    program = (
        "import sys, scheduler_core.queueing.ready_set, redis; assert 'redis.asyncio.client' not in sys.modules; "
        "print(redis.asyncio.Redis.__module__, redis.asyncio is sys.modules['redis.asyncio'])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["redis.asyncio.client", "True"]
