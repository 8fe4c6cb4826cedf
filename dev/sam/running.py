"""All of `make sam`: stores, schema, key, build; then the API, an executor, the schedules, an echo receiver."""

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console

from dev import demo, processes
from dev.console import HumanConsole, JsonConsole
from dev.demo import Demo
from dev.echo_process import end_process, start_echo
from dev.folder import DataFolder
from dev.local_environment import ROOT
from dev.processes import ServerError
from dev.sam.building import Built, build
from dev.sam.compose import Compose, Stores
from dev.sam.gateway import SamGateway
from dev.sam.steps import StepError, Steps
from dev.stack import ECHO_PORT, PORT
from dev.ticks import Stores as TickStores
from dev.ticks import Ticks
from dev.welcome import welcome
from hosting import web
from hosting.pool import forward_lines
from hosting.template import TemplateError, read_template
from scheduler_core.domain.errors import SchedulerError
from scheduler_core.storage.migrations import apply_migrations

STAYS = "The stores stay; `make sam-down` ends them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run: ports are preferred, not promised; 0 is any. `sam` is the program, found where it is None."""

    port: int = PORT
    echo_port: int = ECHO_PORT
    as_json: bool = False
    folder: Path = field(default=ROOT / ".data")
    sam: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What is there once everything that comes first is done."""

    stores: Stores
    built: Built
    known: Demo
    signing_key: str


def run(options: Options) -> int:
    """Run until SIGINT or SIGTERM; answers the exit code. Blocks."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console: HumanConsole | JsonConsole = JsonConsole() if options.as_json else HumanConsole()
    folder = DataFolder(options.folder)
    try:
        with folder.locked():
            folder.end_orphans()
            steps = Steps(folder.path / "sam.log", console if isinstance(console, JsonConsole) else None)
            prepared = prepare(steps, options, folder.path)
            uvloop.run(System(options, prepared, folder, steps, console).run())
    except (ServerError, StepError, TemplateError, SchedulerError) as error:
        _say(console, str(error) or type(error).__name__)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def prepare(steps: Steps, options: Options, folder: Path) -> Prepared:
    """Stores, schema, key, build. Raises StepError, SchedulerError."""
    stores = Compose(steps).up()
    database_url, signing_key = stores.database_url(inside=False), demo.signing_key(folder)
    with steps.step("Migrations, demo key"):
        apply_migrations(database_url, ROOT / "migrations")
        known = demo.prepare(database_url, folder, signing_key)
    built = build(steps, options.sam, stores, folder=folder, signing_key=signing_key)
    return Prepared(stores=stores, built=built, known=known, signing_key=signing_key)


class System:
    """What runs until it is told to end."""

    def __init__(
        self,
        options: Options,
        prepared: Prepared,
        folder: DataFolder,
        steps: Steps,
        console: HumanConsole | JsonConsole,
    ) -> None:
        self._options = options
        self._prepared = prepared
        self._folder = folder
        self._steps = steps
        self._console = console
        self._ending = asyncio.Event()

    def line(self, source: str, line: str) -> None:
        """A line of one of our processes. What SAM says about containers that it is ending is of no use."""
        if not (source == "sam" and self._ending.is_set()):
            self._console.line(source, line)

    def event(self, name: str, **fields: Any) -> None:
        """Something that a part noticed."""
        if name == "process.started":
            self._folder.note_process(fields["pid"])
        if not (name == "process.ended" and self._ending.is_set()):
            self._console.event(name, **fields)

    async def run(self) -> None:
        """Start, wait for the end, stop. Raises StepError where the API does not start or ends by itself."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._ending.set)
        prepared = self._prepared
        echo_at = web.bind(self._options.echo_port)
        echo = await start_echo(echo_at, prepared.known.webhook_secret)
        self._folder.note_process(echo.pid)
        heard = asyncio.create_task(forward_lines(echo, "echo", self))
        port = processes.free_port(self._options.port)
        gateway = SamGateway(prepared.built, port, self._steps.log, self)
        ticks = self._ticks()
        ended = asyncio.create_task(self._ending.wait())
        work = asyncio.create_task(self._work(gateway, ticks, echo_at.getsockname()[1]))
        try:
            await asyncio.wait((ended, work), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            self._ending.set()
            work.cancel()
            ended.cancel()
            await asyncio.gather(work, ended, return_exceptions=True)
            with self._steps.step("Everything that was started ends"):
                await asyncio.gather(ticks.stop(), gateway.stop(), end_process(echo, seconds=1.5))
                await heard
            echo_at.close()
            self._console.summarise()
            self._console.event("stack.notice", message=STAYS)

    async def _work(self, gateway: SamGateway, ticks: Ticks, echo_port: int) -> None:
        with self._steps.step("sam local start-api, an executor, the schedules"):
            await asyncio.gather(gateway.start(self._prepared.known.api_key), ticks.start())
            ticks.fire()
        self._tell(gateway.url, echo_port)
        died = asyncio.create_task(gateway.ended())
        try:
            while not died.done():
                await asyncio.wait((died,), timeout=1)
                self._console.summarise()
        finally:
            died.cancel()
        raise StepError(f"sam local start-api ended by itself; {self._steps.log} says why")

    def _ticks(self) -> Ticks:
        stores = self._prepared.stores
        where = TickStores(
            database_url=stores.database_url(inside=False),
            redis_url=stores.redis_url(inside=False),
            signing_key=self._prepared.signing_key,
        )
        more = {"AWS_ENDPOINT_URL": stores.aws_url(inside=False)}
        return Ticks(read_template(ROOT / "template.yaml"), where, self, keep_executor=True, more=more)

    def _tell(self, url: str, echo_port: int) -> None:
        facts = _facts(self._prepared, url, f"http://{web.LOOPBACK}:{echo_port}")
        self._folder.tell({**facts, "pid": os.getpid()})
        if isinstance(self._console, JsonConsole):
            self._console.event("stack.ready", pid=os.getpid(), **facts)
            return
        wanted, port = self._options.port, int(url.rpartition(":")[2])
        self._console.print(welcome(facts, port_taken=wanted if wanted not in (0, port) else None))
        self._console.print(f"[dim]Log: {self._steps.log}. {STAYS}[/]\n")


def _facts(prepared: Prepared, url: str, echo_url: str) -> Mapping[str, str]:
    return {
        "url": url,
        "api_key": prepared.known.api_key,
        "echo_url": echo_url,
        "database_url": prepared.stores.database_url(inside=False),
        "redis_url": prepared.stores.redis_url(inside=False),
        "aws_url": prepared.stores.aws_url(inside=False),
        "network": prepared.stores.network,
        "signing_key": prepared.signing_key,
        "webhook_secret": prepared.known.webhook_secret,
        "merchant_id": str(prepared.known.merchant_id),
    }


def _say(console: HumanConsole | JsonConsole, message: str) -> None:
    if isinstance(console, JsonConsole):
        console.event("stack.failed", message=message)
    else:
        Console(stderr=True, highlight=False).print(message, style="red", markup=False)
