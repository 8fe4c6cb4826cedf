"""What can be checked before anything runs: the template and the compose files."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from dev.local_environment import ROOT
from dev.sam.building import ENVIRONMENT
from dev.sam.running import Prepared
from dev.sam.steps import environment_with

COMPOSE_FILES = sorted(ROOT.glob("docker-compose*.yml"))


def run(*command: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_sam_finds_nothing_wrong_with_the_template(prepared: Prepared) -> None:
    found = run(prepared.built.sam, "validate", "--lint", environment=environment_with(ENVIRONMENT))
    assert found.returncode == 0, found.stdout + found.stderr
    assert "is a valid SAM Template" in found.stdout + found.stderr


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: file.name)
def test_compose_understands_the_file(file: Path) -> None:
    """Whatever a file cannot do without, it says by name; everything else has a default."""
    given = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "DOCKER_HOST")}
    command = ("docker", "compose", "--file", file, "--env-file", os.devnull, "config")
    quiet = run(*command, "--quiet", environment=given)
    while quiet.returncode and (needed := _needed(quiet.stderr) - given.keys()):
        given |= dict.fromkeys(needed, "given-" + "x" * 40)
        quiet = run(*command, "--quiet", environment=given)
    assert (quiet.returncode, quiet.stdout) == (0, ""), quiet.stderr
    told = run(*command, environment=given)
    assert told.returncode == 0, told.stderr
    assert "variable is not set" not in told.stderr
    published = [line for line in told.stdout.splitlines() if "host_ip" in line]
    assert published, "nothing is published"
    assert {line.split()[-1] for line in published} == {"127.0.0.1"}


def _needed(said: str) -> set[str]:
    """The variables that compose says are missing; it names the first of them."""
    return set(re.findall(r"required variable (\w+) is missing", said))
