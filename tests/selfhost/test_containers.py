"""What the containers may do, seen from inside, and what is in the image."""

import json
from functools import partial

import pytest

from tests.selfhost.installation import LONG_LIVED, Installation, docker, until

OURS = ("gateway", "workers")


def test_everything_is_up_and_healthy(installation: Installation) -> None:
    for service in LONG_LIVED:
        until(partial(installation.is_healthy, service), service)
    assert installation.inspect("migrate")["State"]["ExitCode"] == 0
    assert installation.health() == (200, "ok")


@pytest.mark.parametrize("service", LONG_LIVED)
def test_nothing_runs_as_root_or_has_a_capability(installation: Installation, service: str) -> None:
    status = installation.inside(service, "cat /proc/1/status").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert "0" not in facts["Uid"].split()
    assert "0" not in facts["Gid"].split()
    assert int(facts["CapEff"], 16) == 0
    assert int(facts["CapBnd"], 16) == 0
    assert facts["NoNewPrivs"] == "1"


@pytest.mark.parametrize("service", LONG_LIVED)
def test_nothing_can_be_written_but_what_has_to_be(installation: Installation, service: str) -> None:
    for path in ("/x", "/usr/bin/x", "/etc/x", "/app/hosting/x", "/opt/scheduler/bin/x"):
        assert installation.inside(service, f"touch {path}").returncode != 0, path
    assert installation.inspect(service)["HostConfig"]["ReadonlyRootfs"] is True


@pytest.mark.parametrize("service", OURS)
def test_what_is_written_for_the_moment_cannot_be_run(installation: Installation, service: str) -> None:
    tried = installation.inside(service, "cp /bin/true /tmp/true && chmod 755 /tmp/true && /tmp/true")
    assert tried.returncode == 126
    installation.inside(service, "rm -f /tmp/true")


def test_the_stores_have_no_way_out(installation: Installation) -> None:
    def answers(address: str, port: int) -> bool:
        # Redis' client is what every such image has; anything but a refusal or silence is an answer.
        told = installation.inside("redis", f"timeout 5 redis-cli -h {address} -p {port} ping 2>&1")
        return bool(told.stdout) and "Could not connect" not in told.stdout

    (deliveries,) = installation.inspect("echo")["NetworkSettings"]["Networks"].values()
    assert answers("gateway", 3000)
    assert not answers(deliveries["IPAddress"], 3001)


def test_the_image_holds_neither_tests_nor_tools_nor_secrets(installation: Installation) -> None:
    image = installation.environment["SCHEDULER_IMAGE"]
    look = "ls -A /app; ls /opt/scheduler/bin; id -u; id -g"
    lines = docker("run", "--rm", "--network=none", image, "sh", "-c", look).split()
    assert set(lines) >= {"cli", "functions", "hosting", "layers", "migrations", "template.yaml", "scheduler", "10001"}
    assert not set(lines) & {"dev", "tests", "bench", ".git", ".env", "uv", "pytest", "gcc"}
    history = docker("history", "--no-trunc", image)
    told = docker("inspect", "--format", "{{json .Config}}", image)
    for name in ("SIGNING_KEY", "POSTGRES_PASSWORD"):
        assert installation.environment[name] not in history + told


def test_the_code_is_compiled_and_belongs_to_somebody_else(installation: Installation) -> None:
    missing = installation.inside(
        "gateway",
        "find /app -name '*.py' | while read f; do d=$(dirname $f); b=$(basename $f .py);"
        " [ -f $d/__pycache__/$b.cpython-312.pyc ] || echo $f; done; find /app /opt/scheduler -user 10001",
    )
    assert missing.stdout == ""


@pytest.mark.parametrize("service", OURS)
def test_every_line_of_the_log_is_json(installation: Installation, service: str) -> None:
    lines = docker("logs", installation.container(service)).splitlines()
    assert lines
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_the_command_line_offers_what_an_installation_has(installation: Installation) -> None:
    told = installation.compose("exec", "-T", "gateway", "scheduler", "--help")
    offered = {line.split()[0] for line in told.splitlines() if line.startswith("  ") and line.strip()}
    assert offered >= {"migrate", "merchants", "keys", "jobs"}
    assert not offered & {"dev", "tick", "bench"}
    assert installation.scheduler("migrate") == {"applied": []}
