"""What the scripts for containers do where they can do nothing: say so, and touch nothing."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = sorted(path for path in (ROOT / "containers").iterdir() if path.is_file())
NOWHERE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
USER = 65534


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as somebody who is not root."""
    # Where this checkout may not be reached by others, the script's text still can be.
    text = (ROOT / "containers" / script).read_text(encoding="utf-8")
    return subprocess.run(
        ["/bin/bash", "-s", "--", *arguments],
        input=text,
        env={"PATH": os.environ["PATH"], **environment},
        cwd="/",
        user=USER if os.geteuid() == 0 else None,
        extra_groups=[] if os.geteuid() == 0 else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def tools() -> Iterator[Path]:
    """A folder for PATH without Docker and without a package manager, which others may reach."""
    with tempfile.TemporaryDirectory(prefix="task-scheduler-tools-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for tool in ("timeout", "cat", "tr", "sed", "awk", "rm"):
            (folder / tool).symlink_to(shutil.which(tool) or tool)
        yield folder


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_sound_and_can_be_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", str(script)], check=True, capture_output=True)


def test_without_docker_and_without_root_one_is_told_what_to_install(tools: Path) -> None:
    done = run("engine", PATH=str(tools))
    assert done.returncode == 1
    assert "Docker is missing: install" in done.stderr


def test_an_engine_that_was_named_and_does_not_answer_is_not_replaced() -> None:
    done = run("engine", **NOWHERE)
    assert done.returncode == 1
    assert "DOCKER_HOST=unix:///nonexistent/docker.sock does not answer" in done.stderr


def test_only_an_engine_that_was_started_here_is_ended(tmp_path: Path) -> None:
    tmp_path.joinpath("dockerd.pid").write_text(str(os.getpid()), encoding="utf-8")
    done = subprocess.run(
        [str(ROOT / "containers" / "engine"), "stop"],
        env={**os.environ, "DOCKERD_STATE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "No dockerd that was started here" in done.stderr


def test_an_unknown_word_is_refused() -> None:
    done = run("engine", "restart")
    assert done.returncode == 1
    assert "usage" in done.stderr


def test_the_base_image_needs_an_engine() -> None:
    done = subprocess.run(
        [str(ROOT / "containers" / "lambda-base")],
        env={**os.environ, **NOWHERE},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "engine does not answer" in done.stderr
    assert done.stdout == ""


def test_a_cold_start_that_cannot_be_measured_says_why() -> None:
    done = subprocess.run(
        [str(ROOT / ".venv" / "bin" / "scheduler"), "bench", "cold", "--json"],
        env={**os.environ, **NOWHERE},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 7
    assert "Lambda's base image is not there" in done.stderr
