"""The whole scheduler on this machine: starts every part, says where it is, and ends what it started."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from dev import demo
from dev.console import HumanConsole, JsonConsole
from dev.demo import Demo
from dev.echo_process import end_process, start_echo
from dev.folder import DataFolder
from dev.local_environment import environments
from dev.postgres import PostgresServer
from dev.processes import ServerError
from dev.redis import RedisServer
from dev.welcome import welcome
from hosting import web
from hosting.gateway import Gateway
from hosting.invoke_api import InvokeApi
from hosting.invoker import Invoker
from hosting.pool import forward_lines
from hosting.template import Template, TemplateError, read_template
from hosting.ticker import Ticker
from scheduler_core.domain.errors import SchedulerError
from scheduler_core.storage.migrations import apply_migrations

ROOT = Path(__file__).parents[1]
PORT = 3000
ECHO_PORT = 3001
_SUPERVISE_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run: `port` is preferred, not promised; 0 is any. `ticking=False`: no schedule is fired."""

    port: int = PORT
    echo_port: int = ECHO_PORT
    as_json: bool = False
    folder: Path = field(default=ROOT / ".data")
    template: Path = field(default=ROOT / "template.yaml")
    ticking: bool = True


def run(*, port: int = PORT, as_json: bool = False, options: Options | None = None) -> int:
    """Run until SIGINT or SIGTERM; answers the exit code. Blocks."""
    options = options or Options(port=port, as_json=as_json)
    console: HumanConsole | JsonConsole = JsonConsole() if options.as_json else HumanConsole()
    folder = DataFolder(options.folder)
    try:
        with folder.locked(), _servers(folder) as servers:
            uvloop.run(Stack(options, folder, servers, console).run())
    except (ServerError, TemplateError, SchedulerError) as error:
        console.event("stack.failed", message=str(error) or type(error).__name__)
        if not options.as_json:
            sys.stderr.write(f"{error or type(error).__name__}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


class Servers:
    """The stores: our own, or those that the environment names."""

    def __init__(self, folder: Path) -> None:
        self.postgres = None if os.environ.get("DATABASE_URL") else PostgresServer(folder)
        self.redis = None if os.environ.get("REDIS_URL") else RedisServer(folder)

    @property
    def database_url(self) -> str:
        return self.postgres.url if self.postgres else os.environ["DATABASE_URL"]

    @property
    def redis_url(self) -> str:
        return self.redis.url if self.redis else os.environ["REDIS_URL"]

    def pids(self) -> dict[str, list[int]]:
        """The processes of our own servers."""
        named = {"postgres": self.postgres, "redis": self.redis}
        return {name: [server.pid] for name, server in named.items() if server and server.pid}

    def restart_dead(self) -> list[str]:
        """Start again what has died; answers the names."""
        restarted = []
        for name, server in (("postgres", self.postgres), ("redis", self.redis)):
            if server is not None and server.pid is None:
                server.start()
                restarted.append(name)
        return restarted


@contextlib.contextmanager
def _servers(folder: DataFolder) -> Iterator[Servers]:
    folder.end_orphans()
    servers = Servers(folder.path)
    # A second request to end must not interrupt the ending of the servers.
    with contextlib.ExitStack() as ending:
        for server in (servers.postgres, servers.redis):
            if server is not None:
                ending.callback(server.stop)
                server.start()
        yield servers


class Stack:
    """One run of everything above the stores."""

    def __init__(
        self, options: Options, folder: DataFolder, servers: Servers, console: HumanConsole | JsonConsole
    ) -> None:
        self._options = options
        self._folder = folder
        self._servers = servers
        self._console = console
        self._template: Template = read_template(options.template)
        self._signing_key = demo.signing_key(folder.path)
        self._ending = asyncio.Event()
        self._echo: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    # What the parts report -------------------------------------------------------------------------------------------

    def line(self, source: str, line: str) -> None:
        """A line of one of our processes."""
        self._console.line(source, line)

    def event(self, name: str, **fields: Any) -> None:
        """Something that a part noticed."""
        if name == "process.started":
            self._folder.note_process(fields["pid"])
        if not (name == "process.ended" and self._ending.is_set()):
            self._console.event(name, **fields)

    # Running ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start, wait for the end, stop."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._ending.set)
        gateway_at, invoke_at = web.bind(self._options.port), web.bind()
        echo_at = web.bind(self._options.echo_port)
        invoke_url = f"http://{web.LOOPBACK}:{invoke_at.getsockname()[1]}"
        invoker = Invoker(self._template.functions, self._environments(invoke_url), self)
        invoke_api = web.WebServer(InvokeApi(invoker), invoke_at)
        gateway = web.WebServer(Gateway(self._template, invoker, self), gateway_at)
        ticker = Ticker(self._template.schedules, invoker, self)
        try:
            known = await self._start(invoker, invoke_api, gateway, echo_at)
            self._tell(gateway, echo_at.getsockname()[1], invoker, known)
            if self._options.ticking:
                ticker.start()
            await self._ending.wait()
        finally:
            self._ending.set()
            await ticker.stop()
            await gateway.stop()
            await invoker.stop()
            await invoke_api.stop()
            await self._stop_rest()
            echo_at.close()
            self._console.summarise()

    async def _start(self, invoker: Invoker, invoke_api: web.WebServer, gateway: web.WebServer, echo_at: Any) -> Demo:
        # The functions load while the database is prepared; neither needs the other.
        warm = [
            asyncio.create_task(invoker.pools[name].warm()) for name in ("api", "authorizer") if name in invoker.pools
        ]
        known = await asyncio.to_thread(self._prepare_database)
        self._echo = await start_echo(echo_at, known.webhook_secret)
        self._folder.note_process(self._echo.pid)
        self._tasks.append(asyncio.create_task(forward_lines(self._echo, "echo", self)))
        await invoke_api.start()
        await gateway.start()
        await asyncio.gather(*warm)
        invoker.start()
        self._tasks += [asyncio.create_task(self._summarise()), asyncio.create_task(self._supervise())]
        return known

    def _prepare_database(self) -> Demo:
        apply_migrations(self._servers.database_url, ROOT / "migrations")
        return demo.prepare(self._servers.database_url, self._folder.path, self._signing_key)

    def _environments(self, invoke_url: str) -> Mapping[str, Mapping[str, str]]:
        supplied = {
            "AWS_ENDPOINT_URL_LAMBDA": invoke_url,
            "DATABASE_URL": self._servers.database_url,
            "REDIS_URL": self._servers.redis_url,
            "SIGNING_KEY": self._signing_key,
        }
        return environments(self._template, supplied)

    def _tell(self, gateway: web.WebServer, echo_port: int, invoker: Invoker, known: Demo) -> None:
        facts = {
            "url": gateway.url,
            "api_key": known.api_key,
            "echo_url": f"http://{web.LOOPBACK}:{echo_port}",
            "database_url": self._servers.database_url,
            "redis_url": self._servers.redis_url,
            "signing_key": self._signing_key,
            "webhook_secret": known.webhook_secret,
            "merchant_id": str(known.merchant_id),
        }
        self._folder.tell({**facts, "pid": os.getpid()})
        pids = {name: pool.pids for name, pool in invoker.pools.items()} | self._servers.pids()
        if isinstance(self._console, JsonConsole):
            self._console.event(
                "stack.ready", pid=os.getpid(), **facts, pids=pids | {"echo": [self._echo.pid] if self._echo else []}
            )
        else:
            wanted = self._options.port
            self._console.print(welcome(facts, port_taken=wanted if wanted not in (0, gateway.port) else None))

    # In the background -----------------------------------------------------------------------------------------------

    async def _summarise(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._console.summarise()

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(_SUPERVISE_SECONDS)
            # In this thread although it blocks: the kernel ends a child with the thread that started it.
            for name in self._servers.restart_dead():
                self.event("server.restarted", server=name, pids=self._servers.pids()[name])

    async def _stop_rest(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._echo is not None:
            await end_process(self._echo, seconds=1.5)
        await asyncio.gather(*self._tasks, return_exceptions=True)
