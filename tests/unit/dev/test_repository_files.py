"""Files that repeat one another agree."""

import importlib
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from hosting.settings import HostingSettings
from scheduler_core.settings import _Settings

ROOT = Path(__file__).parents[3]
_LINE = re.compile(r"^(?P<commented># )?(?P<name>[A-Z][A-Z0-9_]+)=(?P<value>.*)$")


def _documented() -> dict[str, str | None]:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    found = [match for line in lines if (match := _LINE.match(line))]
    return {match["name"]: None if match["commented"] else match["value"] for match in found}


def _settings() -> dict[str, Any]:
    for path in (ROOT / "functions").glob("*/*.py"):
        if re.search(r"^class \w+Settings\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            importlib.import_module(f"{path.parent.name}.{path.stem}")
    classes: list[type[BaseSettings]] = [_Settings, HostingSettings]
    found: dict[str, Any] = {}
    while classes:
        each = classes.pop()
        classes += each.__subclasses__()
        found |= {
            name.upper(): field for name, field in each.model_fields.items() if each.__module__.split(".")[0] != "tests"
        }
    return found


def test_every_setting_is_in_the_example_and_nothing_else_is() -> None:
    assert sorted(_documented()) == sorted(_settings())


def test_the_example_says_the_defaults() -> None:
    documented = _documented()
    for name, field in _settings().items():
        if field.default is PydanticUndefined:
            assert documented[name] is None, f"{name} has no default: comment it out"
        else:
            assert documented[name] == _said(field.default), name


def _said(default: object) -> str:
    if default is None or default == ():
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_what_installs_uv_is_what_the_environment_then_keeps() -> None:
    def pinned(file: str) -> str:
        text = (ROOT / "requirements" / file).read_text(encoding="utf-8")
        found = re.search(r"^uv==\S+( \\\n    --hash=\S+)+", text, re.MULTILINE)
        assert found
        return found[0]

    assert pinned("bootstrap.txt") == pinned("dev.txt")


def test_compose_publishes_ports_on_loopback_only() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.dev.yml").read_text(encoding="utf-8"))
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert all("healthcheck" in service for service in compose["services"].values())
