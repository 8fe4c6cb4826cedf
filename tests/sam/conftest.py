"""Stores in containers, a build, and SAM over both: made once, in a compose project of our own, and ended with us.

Nothing here is skipped: where the engine, SAM or an image is missing and cannot be had, tests fail and say what is
missing. What the steps do is shown as they do it; their logs' last lines come with a failure.
"""

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import processes
from dev.local_environment import ROOT
from dev.sam.compose import SERVICES, Compose
from dev.sam.running import Options, Prepared, prepare
from dev.sam.steps import Steps, answer_of

_PROJECT = "task-scheduler-test-"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is selected by `-m sam`, and takes its time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("sam")
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session", autouse=True)
def _project() -> Iterator[str]:
    """The compose project of this run. SIGTERM ends the run as Ctrl-C does: with everything that it started."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    _end_leftovers()
    name = f"{_PROJECT}{os.getpid()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPOSE_PROJECT_NAME", name)
        yield name
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A data folder, whose log is `sam.log`."""
    with tempfile.TemporaryDirectory(prefix="task-scheduler-sam-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="session")
def prepared(folder: Path, _project: str) -> Iterator[Prepared]:
    """All of `make sam` but the serving: stores, schema, key, build. The images are then known by their variables."""
    steps = Steps(folder / "prepare.log")
    try:
        prepared = prepare(steps, Options(folder=folder), folder)
        assert set(prepared.stores.ports) == set(SERVICES), "LocalStack is missing; its step above says why"
        with pytest.MonkeyPatch.context() as patch:
            for line in _lines(folder / "images.env"):
                patch.setenv(*line.split("=", 1))
            yield prepared
    finally:
        Compose(steps).down(volumes=True)


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    """A runner of commands for one test."""
    return Steps(tmp_path / "steps.log")


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _end_leftovers() -> None:
    """The containers of runs that were killed."""
    told = answer_of("docker", "compose", "ls", "--all", "--format", "json", cwd=ROOT)
    for project in json.loads(told or "[]"):
        name = str(project["Name"])
        if name.startswith(_PROJECT) and not processes.lives(int(name.removeprefix(_PROJECT))):
            answer_of("docker", "compose", "--project-name", name, "down", "--volumes", cwd=ROOT)
