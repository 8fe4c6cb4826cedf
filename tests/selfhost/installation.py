"""One self-hosted installation under Docker, with a project name of its own, and all that is asked of it."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from hosting import web

ROOT = Path(__file__).parents[2]
FILES = ("docker-compose.yml", "tests/selfhost/compose.yml")
LONG_LIVED = ("gateway", "workers", "postgres", "redis")
SECONDS = 120.0
STOP_SECONDS = 10
"""What deliveries under way are given; long enough for the slowest that is to be finished."""
_LONGEST_COMMAND_SECONDS = 600.0


def docker(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What a docker command prints. A command that fails fails the test with what it said."""
    return piped(b"", *arguments, environment=environment).decode()


def piped(given: bytes, *arguments: str, environment: Mapping[str, str] | None = None) -> bytes:
    """The same for a command that reads something, or prints what is no text."""
    done = subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        input=given,
        capture_output=True,
        timeout=_LONGEST_COMMAND_SECONDS,
        check=False,
    )
    told = done.stderr[-4_000:].decode(errors="replace")
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {told}"
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Its services by name; `environment` is what its compose files are told."""

    project: str
    environment: Mapping[str, str]
    url: str
    echo_url: str
    database_url: str

    def compose(self, *arguments: str) -> str:
        """What `docker compose` prints for this project."""
        return self.compose_piped(b"", *arguments).decode()

    def compose_piped(self, given: bytes, *arguments: str) -> bytes:
        """The same for a command that reads something, or prints what is no text."""
        files = [part for file in FILES for part in ("-f", file)]
        whole = ["compose", "--project-name", self.project, "--env-file", os.devnull, *files, *arguments]
        return piped(given, *whole, environment=self.environment)

    def scheduler(self, *arguments: str) -> Any:
        """What the command line inside the gateway's container answers."""
        return json.loads(self.compose("exec", "-T", "gateway", "scheduler", *arguments, "--json"))

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers, ended ones too."""
        return self.compose("ps", "--all", "--quiet", service).split()

    def container(self, service: str) -> str:
        """The only one."""
        (found,) = self.containers(service)
        return found

    def inspect(self, service: str) -> dict[str, Any]:
        """What Docker knows of it."""
        found: dict[str, Any] = json.loads(docker("inspect", self.container(service)))[0]
        return found

    def inside(self, service: str, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command in a service's container, whatever comes of it."""
        return subprocess.run(
            ["docker", "exec", self.container(service), "sh", "-c", command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def crash(self, service: str) -> None:
        """Kill its first process with SIGKILL, as the kernel would: Docker's own `kill` counts as a wish to stop."""
        pid = str(self.inspect(service)["State"]["Pid"])
        image = self.environment["SCHEDULER_IMAGE"]
        docker("run", "--rm", "--pid=host", "--user=root", "--network=none", image, "sh", "-c", f"kill -9 {pid}")

    def is_healthy(self, service: str) -> bool:
        """Whether it runs and its health check says so."""
        state = self.inspect(service)["State"]
        return bool(state["Running"] and state["Health"]["Status"] == "healthy")

    def health(self) -> tuple[int, str]:
        """The API's own word: HTTP status and `status`; (0, "") where nothing answers."""
        try:
            answer = httpx.get(f"{self.url}/health", timeout=10, trust_env=False)
        except httpx.HTTPError:
            return 0, ""
        return answer.status_code, str(answer.json().get("status", ""))


def until(holds: Callable[[], bool], what: str, seconds: float = SECONDS) -> float:
    """Wait for something to come true; answers how long that took, fails when it does not."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)
    return time.monotonic() - started


@contextmanager
def running(images: Mapping[str, str]) -> Iterator[Installation]:
    """Build the image, bring everything up, and take everything away again: nothing of it may stay."""
    project = f"ts-test-{secrets.token_hex(4)}"
    port, echo_port, database_port = _free_ports(3)
    password = secrets.token_hex(24)
    installation = Installation(
        project=project,
        url=f"http://127.0.0.1:{port}",
        echo_url=f"http://127.0.0.1:{echo_port}",
        database_url=f"postgresql://scheduler:{password}@127.0.0.1:{database_port}/scheduler",
        environment={
            **images,
            "SCHEDULER_IMAGE": f"task-scheduler:{project}",
            "SCHEDULER_ENV_FILE": os.devnull,
            "SIGNING_KEY": secrets.token_hex(32),
            "POSTGRES_PASSWORD": password,
            "STOP_SECONDS": str(STOP_SECONDS),
            "GATEWAY_PUBLISH": f"127.0.0.1:{port}",
            "TEST_ECHO_PORT": str(echo_port),
            "TEST_POSTGRES_PORT": str(database_port),
        },
    )
    try:
        installation.compose("up", "--detach", "--wait")
        yield installation
    finally:
        installation.compose("down", "--volumes", "--timeout", "5")
        docker("image", "rm", installation.environment["SCHEDULER_IMAGE"])
    _assert_nothing_is_left(project)


def _assert_nothing_is_left(project: str) -> None:
    ours = f"label=com.docker.compose.project={project}"
    left = {
        "containers": docker("ps", "--all", "--quiet", "--filter", ours),
        "volumes": docker("volume", "ls", "--quiet", "--filter", ours),
        "networks": docker("network", "ls", "--quiet", "--filter", ours),
    }
    assert not any(left.values()), left


def _free_ports(count: int) -> Sequence[int]:
    bound = [web.bind() for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in bound]
    finally:
        for each in bound:
            each.close()
