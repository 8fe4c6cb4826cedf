"""What the functions are told when they run on this machine."""

import os
from collections.abc import Mapping
from pathlib import Path

from hosting.environments import documented_settings, environment_of
from hosting.template import Template

ROOT = Path(__file__).parents[1]
LOOPBACK_NETWORKS = "127.0.0.0/8,::1/128"


def environments(
    template: Template, supplied: Mapping[str, str], *, own: Mapping[str, str] = os.environ
) -> Mapping[str, Mapping[str, str]]:
    """Each function's environment, by name: stores, invoker and key are `supplied`, the rest is ours or documented."""
    settings = documented_settings(ROOT / ".env.example")
    local = {
        "EXECUTOR_FUNCTION": "executor",
        "POPULATOR_FUNCTION": "populator",
        "WATCHER_FUNCTION": "watcher",
        "MIGRATIONS_DIRECTORY": str(ROOT / "migrations"),
        **{name: own.get(name) or default for name, default in _WISHES.items()},
        **supplied,
    }
    return {f.name: environment_of(f, supplied=local, own=own, settings=settings) for f in template.functions}


_WISHES = {"ALLOWED_TARGET_NETWORKS": LOOPBACK_NETWORKS, "JOB_EVENTS": "true"}
"""What is otherwise on a developer's machine, unless our own environment says it."""
