"""The sample events of `events/`: one for every function, and its real handler accepts it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dev.local_environment import environments
from hosting.invoker import Invoker
from hosting.pool import Result
from hosting.template import Template, read_template
from tests.builders import rows
from tests.integration.hosting.parts import Heard
from tests.sample_events import ANSWERS, EVENTS, event

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def template() -> Template:
    return read_template(ROOT / "template.yaml")


def answers_of(template: Template, supplied: dict[str, str], given: dict[str, Any]) -> dict[str, Result]:
    """What functions make of events, each in a process of its own."""

    async def ask() -> dict[str, Result]:
        invoker = Invoker(template.functions, environments(template, supplied), Heard())
        try:
            return {name: await invoker.invoke(name, event) for name, event in given.items()}
        finally:
            await invoker.stop()

    return asyncio.run(ask())


def test_every_function_has_a_sample_event(template: Template) -> None:
    assert {function.name for function in template.functions} == set(ANSWERS)
    assert set(ANSWERS) <= {file.stem for file in EVENTS.glob("*.json")}


def test_every_handler_accepts_its_sample_event(
    template: Template, database_url: str, redis_url: str, subtests: pytest.Subtests
) -> None:
    supplied = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SIGNING_KEY": "k" * 32,
        "AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:9",
    }
    results = answers_of(template, supplied, {name: event(name) for name in ANSWERS})
    for name, accepted in ANSWERS.items():
        with subtests.test(function=name):
            assert results[name].error is None
            assert accepted(results[name].answer), results[name].answer
    assert rows(database_url, "SELECT id FROM jobs UNION ALL SELECT id FROM templates") == []


def test_scheduled_events_name_the_schedules_of_the_template(template: Template) -> None:
    for schedule in template.schedules:
        assert event(schedule.function)["resources"][0].endswith(f"/{schedule.function}-{schedule.name}")
