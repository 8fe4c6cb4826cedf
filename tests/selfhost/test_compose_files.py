"""What the compose files say, as Docker reads them."""

import json
import os
import subprocess
from typing import Any

import pytest

from tests.selfhost.installation import ROOT, docker

SECRETS = {"SIGNING_KEY": "s" * 64, "POSTGRES_PASSWORD": "p" * 48}
OURS = ("gateway", "workers", "migrate")
STORES = ("postgres", "redis")


def config(**environment: str) -> dict[str, Any]:
    told = docker(
        "compose", "--env-file", os.devnull, "-f", "docker-compose.yml", "config", "--format", "json",
        environment={**SECRETS, "SCHEDULER_ENV_FILE": os.devnull, **environment},
    )  # fmt: skip
    found: dict[str, Any] = json.loads(told)
    return found


@pytest.mark.parametrize("file", ["docker-compose.yml", "docker-compose.dev.yml"])
def test_docker_understands_the_file(file: str) -> None:
    docker("compose", "--env-file", os.devnull, "-f", file, "config", "--quiet", environment=SECRETS)


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_no_secret_has_a_default_and_the_message_says_what_to_do(missing: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    given = {name: value for name, value in SECRETS.items() if name != missing}
    refused = subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, "config", "--quiet"],
        cwd=ROOT,
        env={**environment, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert missing in refused.stderr
    assert "make self-hosted-env" in refused.stderr


def test_the_env_file_that_make_writes_is_private_enough_and_never_overwritten(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("env")
    made = ["make", "--silent", "--no-print-directory", "-f", str(ROOT / "Makefile"), "self-hosted-env"]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    file = folder / ".env"
    first = file.read_text(encoding="utf-8")
    values = dict(line.split("=", 1) for line in first.splitlines() if not line.startswith("#"))
    assert {name: len(value) for name, value in values.items()} == {"SIGNING_KEY": 64, "POSTGRES_PASSWORD": 48}
    assert file.stat().st_mode & 0o077 == 0
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    assert file.read_text(encoding="utf-8") == first


def test_every_service_is_hardened_and_limited(subtests: pytest.Subtests) -> None:
    services = config()["services"]
    assert sorted(services) == sorted((*OURS, *STORES))
    for name, service in services.items():
        with subtests.test(name):
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert "cap_add" not in service
            assert service["security_opt"] == ["no-new-privileges:true"]
            assert "privileged" not in service
            assert service["restart"] == ("on-failure:3" if name == "migrate" else "unless-stopped")
            assert int(service["mem_limit"]) <= 2 * 1024**3
            assert float(service["cpus"]) > 0
            assert 0 < service["pids_limit"] <= 512
            assert service["logging"]["options"]["max-size"]
            assert name == "migrate" or service["healthcheck"]["test"]


def test_only_the_gateway_is_published_and_only_on_this_machine() -> None:
    services = config()["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert list(published) == ["gateway"]
    assert [(port["host_ip"], port["published"]) for port in published["gateway"]] == [("127.0.0.1", "3000")]


def test_the_stores_are_in_a_network_without_a_way_out() -> None:
    found = config()
    assert found["networks"]["inside"]["internal"] is True
    for name in (*STORES, "migrate"):
        assert list(found["services"][name]["networks"]) == ["inside"]


def test_workers_are_given_the_time_that_they_take_to_end() -> None:
    workers = config()["services"]["workers"]
    grace = float(workers["stop_grace_period"].rstrip("s"))
    assert grace >= float(workers["environment"]["STOP_SECONDS"]) + 10


def test_any_setting_may_stand_in_the_env_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("env") / "settings"
    file.write_text("RETENTION_DAYS=7\nREDIS_URL=redis://127.0.0.1:1/0\n", encoding="utf-8")
    environment = config(SCHEDULER_ENV_FILE=str(file))["services"]["workers"]["environment"]
    assert environment["RETENTION_DAYS"] == "7"
    assert environment["REDIS_URL"] == "redis://redis:6379/0"
