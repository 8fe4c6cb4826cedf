"""The stores of docker-compose.dev.yml: brought up where they are not, found where they are, and left running."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dev import processes
from dev.local_environment import ROOT
from dev.sam.steps import StepError, Steps, answer_of

FILE = "docker-compose.dev.yml"
NOWHERE = "http://127.0.0.1:9"
"""A closed port of whoever asks: fails at once."""
_SHOWN = {"postgres": "PostgreSQL", "redis": "Redis", "localstack": "LocalStack"}
_OPTIONAL = {"localstack"}
SERVICES: Mapping[str, int] = {"postgres": 5432, "redis": 6379, "localstack": 4566}
_NO_ENGINE = "The Docker engine does not answer: start it first. As root on Debian, containers/engine installs it."
_NO_COMPOSE = "`docker compose` is missing: install its plugin. As root on Debian, containers/engine does."
_NO_IMAGES = (
    "Images can be neither found nor pulled: {}. Name others with POSTGRES_IMAGE, REDIS_IMAGE, LOCALSTACK_IMAGE; as "
    "root on Linux stand-ins are made from the distribution's packages."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where the stores are: published on the loopback for us, by name in their network for containers."""

    ports: Mapping[str, int]
    network: str

    def database_url(self, *, inside: bool) -> str:
        """PostgreSQL, seen from inside the network or from this machine."""
        return f"postgresql://scheduler:scheduler@{self._at('postgres', inside=inside)}/scheduler"

    def redis_url(self, *, inside: bool) -> str:
        """Redis, likewise."""
        return f"redis://{self._at('redis', inside=inside)}/0"

    def aws_url(self, *, inside: bool) -> str:
        """LocalStack, likewise; without it a port where nobody listens, so that nothing goes to AWS itself."""
        return f"http://{self._at('localstack', inside=inside)}" if "localstack" in self.ports else NOWHERE

    def _at(self, service: str, *, inside: bool) -> str:
        return f"{service}:{SERVICES[service]}" if inside else f"127.0.0.1:{self.ports[service]}"


class Compose:
    """One compose project: the file's own name, or COMPOSE_PROJECT_NAME."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._environment: dict[str, str] = {}

    def up(self) -> Stores:
        """Have the stores run and be healthy. Raises StepError."""
        if answer_of("docker", "version", cwd=ROOT) is None:
            raise StepError(_NO_ENGINE)
        if answer_of("docker", "compose", "version", cwd=ROOT) is None:
            raise StepError(_NO_COMPOSE)
        running = {service: self._published(service) for service in SERVICES}
        for service, port in SERVICES.items():
            wanted = int(os.environ.get(f"{service.upper()}_PORT") or port)
            self._environment[f"{service.upper()}_PORT"] = str(running[service] or processes.free_port(wanted))
        services = self._with_images()
        self._steps.run(
            ", ".join(_SHOWN[service] for service in services),
            *self._command("up", "--detach", "--wait", *services),
            cwd=ROOT,
            environment=self._environment,
        )
        ports = {service: self._published(service) for service in services}
        return Stores(ports={name: port for name, port in ports.items() if port}, network=self._network())

    def down(self, *, volumes: bool = False) -> None:
        """End the stores; their data stay unless `volumes` says otherwise."""
        self._environment |= dict.fromkeys((f"{service.upper()}_PORT" for service in SERVICES), "0")
        options = ["--volumes"] if volumes else []
        self._steps.run("The stores end", *self._command("down", *options), cwd=ROOT, environment=self._environment)

    def _with_images(self) -> list[str]:
        """The services whose images are there: pulled, or made here, where none can be pulled; which is said."""
        services: list[str] = []
        missing: list[str] = []
        for service in SERVICES:
            (services if self._has_image(service) else missing).append(service)
        if needed := [service for service in missing if service not in _OPTIONAL]:
            self._make_stand_ins(needed)
        for service in [service for service in missing if service in _OPTIONAL]:
            try:
                self._make_stand_ins([service])
            except StepError as error:
                self._steps.note(f"{error}\nGoing on without {_SHOWN[service]}: AWS targets have nowhere to go.")
            else:
                needed.append(service)
        return [service for service in SERVICES if service in {*services, *needed}]

    def _has_image(self, service: str) -> bool:
        image = self._image(service)
        if answer_of("docker", "image", "inspect", "--format", "-", image, cwd=ROOT) is not None:
            return True
        try:
            with self._steps.step(f"docker pull {image}"):
                self._steps.quietly("docker", "pull", "--quiet", image, cwd=ROOT)
        except StepError:
            return False
        return True

    def _make_stand_ins(self, missing: list[str]) -> None:
        if sys.platform != "linux" or os.geteuid() != 0:
            raise StepError(_NO_IMAGES.format(", ".join(self._image(each) for each in missing)))
        file = self._steps.log.with_name("images.env")
        told = ", ".join(self._image(each) for each in missing)
        self._steps.note(f"{told} cannot be pulled: stand-ins from the distribution's packages take their place")
        self._steps.run("Stand-in images", ROOT / "containers" / "images.sh", file, *missing, cwd=ROOT)
        made = (line.partition("=") for line in file.read_text(encoding="utf-8").splitlines() if "=" in line)
        self._environment |= {name: image for name, _, image in made}

    def _image(self, service: str) -> str:
        variable = f"{service.upper()}_IMAGE"
        named = os.environ.get(variable)
        if named:
            return named
        found = re.search(rf"\$\{{{variable}:-([^}}]+)\}}", (ROOT / FILE).read_text(encoding="utf-8"))
        assert found is not None, variable  # noqa: S101 - the file takes each of them
        return found[1]

    def _published(self, service: str) -> int | None:
        """The loopback port of a service that runs."""
        told = answer_of(*self._command("port", service, SERVICES[service]), cwd=ROOT, environment=self._environment)
        return int(told.rpartition(":")[2]) or None if told else None

    def _network(self) -> str:
        container = answer_of(*self._command("ps", "--quiet", "postgres"), cwd=ROOT, environment=self._environment)
        form = "{{range $name, $_ := .NetworkSettings.Networks}}{{println $name}}{{end}}"
        told = answer_of("docker", "inspect", "--format", form, container or "-", cwd=ROOT)
        if not told:
            raise StepError("PostgreSQL's container is in no network.")
        return told.splitlines()[0]

    def _command(self, *arguments: object) -> tuple[object, ...]:
        return ("docker", "compose", "--file", ROOT / FILE, *arguments)


def stand_in(image: str) -> bool:
    """Whether an image was made on this machine, so that nothing must try to pull it."""
    told = answer_of("docker", "image", "inspect", "--format", "{{len .RepoDigests}}", image, cwd=Path("/"))
    return told == "0"
