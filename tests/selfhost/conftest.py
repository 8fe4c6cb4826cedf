"""A self-hosted installation in containers, for all tests of this folder: `make test-selfhost`.

It takes a Docker engine and `docker compose`; without them the tests are errors, not skipped. Images that cannot be
pulled are replaced by stand-ins, which `containers/images.sh` says on its output.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.contract.system import Caller, Echo
from tests.selfhost.installation import ROOT, Installation, running

_PATIENCE_SECONDS = 60.0

# Whoever ends these tests ends their containers too.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The images of the compose files, as variables for them."""
    file = tmp_path_factory.mktemp("images") / "images.env"
    made = subprocess.run(
        [ROOT / "containers" / "images.sh", file, "postgres", "redis", "python"],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stdout.write(made.stdout)
    assert made.returncode == 0, made.stdout + made.stderr
    return dict(line.split("=", 1) for line in file.read_text(encoding="utf-8").splitlines())


@pytest.fixture(scope="session")
def installation(images: dict[str, str]) -> Iterator[Installation]:
    """Up and healthy; that nothing of it stays is checked at the end."""
    with running(images) as installation:
        yield installation


@pytest.fixture(scope="session")
def merchant(installation: Installation) -> str:
    """A merchant, made as the documents say: by the command line inside the gateway's container."""
    made = installation.scheduler("merchants", "create", "acme")
    assert made["signing_secret"].startswith("whsec_")
    return str(made["id"])


@pytest.fixture(scope="session")
def caller(installation: Installation, merchant: str) -> Iterator[Caller]:
    """A producer with a key that was made there too."""
    key = installation.scheduler("keys", "create", merchant)["key"]
    with httpx.Client(base_url=installation.url, headers={"x-api-key": key}, timeout=60, trust_env=False) as client:
        yield Caller(client, _PATIENCE_SECONDS)


@pytest.fixture(scope="session")
def echo(installation: Installation) -> Iterator[Echo]:
    """The receiver; deliveries know it by its service's name."""
    with httpx.Client(base_url=installation.echo_url, timeout=10, trust_env=False) as client:
        yield Echo(client, "http://echo:3001", _PATIENCE_SECONDS)
