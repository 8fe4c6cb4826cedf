"""The local stack's parts over stub functions, in real processes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hosting import web
from hosting.environments import environment_of
from hosting.gateway import Gateway
from hosting.invoke_api import InvokeApi
from hosting.invoker import Invoker
from hosting.template import Template, read_template

FIXTURES = Path(__file__).parents[2] / "fixtures"


@dataclass(slots=True)
class Heard:
    """Collects what the parts report."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def line(self, source: str, line: str) -> None:
        self.lines.append((source, line))

    def event(self, name: str, **fields: Any) -> None:
        self.events.append((name, fields))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [fields for each, fields in self.events if each == name]


@dataclass(slots=True)
class Parts:
    """Everything that a test may touch."""

    template: Template
    invoker: Invoker
    heard: Heard
    url: str = ""
    invoke_url: str = ""


@asynccontextmanager
async def parts(
    *, timeout_seconds: int = 2, integration_timeout_seconds: float = 30, **options: Any
) -> AsyncIterator[Parts]:
    """Invoker, gateway and Invoke API, started and stopped."""
    template = read_template(FIXTURES / "template.yaml")
    template = replace(
        template, functions=tuple(replace(f, timeout_seconds=timeout_seconds) for f in template.functions)
    )
    heard = Heard()
    environments = {
        f.name: environment_of(f, supplied={}, code_root=FIXTURES / "functions") for f in template.functions
    }
    invoker = Invoker(template.functions, environments, heard, **({"retry_delays": (0.05, 0.1)} | options))
    gateway = Gateway(template, invoker, heard, integration_timeout_seconds=integration_timeout_seconds)
    servers = [web.WebServer(gateway, web.bind()), web.WebServer(InvokeApi(invoker), web.bind())]
    for server in servers:
        await server.start()
    invoker.start()
    try:
        yield Parts(template, invoker, heard, servers[0].url, servers[1].url)
    finally:
        for server in servers:
            await server.stop()
        await invoker.stop()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something to become true; fail otherwise."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is anything
            await asyncio.sleep(0.01)
