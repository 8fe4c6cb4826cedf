"""`scheduler tick`: fires the template's schedules until it is told to end, or once."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

import uvloop
from rich.console import Console as RichConsole

from dev.console import HumanConsole, JsonConsole
from dev.local_environment import ROOT
from dev.through_lambda import ThroughLambda
from dev.ticks import Stores, Ticks
from hosting.pool import Result
from hosting.reports import Reports
from hosting.template import Template, read_template

TEMPLATE = ROOT / "template.yaml"


class Clockwork(Protocol):
    """Fires schedules, wherever the functions are."""

    async def start(self) -> None: ...

    def fire(self) -> None: ...

    async def once(self) -> Mapping[str, Result]: ...

    async def stop(self) -> None: ...


def tick(
    where: Stores | str, *, as_json: bool, once: bool = False, keep_executor: bool = False, template: Path = TEMPLATE
) -> Mapping[str, Result]:
    """Fire the schedules through the stores' own functions or, where a URL is given, through Lambda's Invoke API.

    Blocks until SIGINT or SIGTERM. With `once` it answers how each function's invocation went, and stdout is left to
    whoever tells that.
    """
    console = _console(sys.stderr if once else sys.stdout, as_json=as_json)
    known = read_template(template)
    return uvloop.run(_run(known, where, console, once=once, keep_executor=keep_executor))


async def _run(
    template: Template, where: Stores | str, console: HumanConsole | JsonConsole, *, once: bool, keep_executor: bool
) -> Mapping[str, Result]:
    ending = asyncio.Event()
    clockwork = _clockwork(template, where, _Reports(console, ending), keep_executor=keep_executor)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, ending.set)
    ended = asyncio.create_task(ending.wait())
    work = asyncio.create_task(_once(clockwork) if once else _always(clockwork, console))
    try:
        await asyncio.wait((ended, work), return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else {}
    finally:
        ending.set()
        work.cancel()
        ended.cancel()
        await asyncio.gather(work, ended, return_exceptions=True)
        await clockwork.stop()
        console.summarise()


def _clockwork(template: Template, where: Stores | str, reports: Reports, *, keep_executor: bool) -> Clockwork:
    if isinstance(where, str):
        return ThroughLambda(template, where, reports)
    return Ticks(template, where, reports, keep_executor=keep_executor)


def _console(out: TextIO, *, as_json: bool) -> HumanConsole | JsonConsole:
    return JsonConsole(out) if as_json else HumanConsole(RichConsole(file=out, highlight=False, soft_wrap=True))


class _Reports:
    """Passes on what happens, but not that processes end once they are meant to."""

    def __init__(self, console: HumanConsole | JsonConsole, ending: asyncio.Event) -> None:
        self._console = console
        self._ending = ending

    def line(self, source: str, line: str) -> None:
        self._console.line(source, line)

    def event(self, name: str, **fields: Any) -> None:
        if not (name == "process.ended" and self._ending.is_set()):
            self._console.event(name, **fields)


async def _once(clockwork: Clockwork) -> Mapping[str, Result]:
    await clockwork.start()
    return await clockwork.once()


async def _always(clockwork: Clockwork, console: HumanConsole | JsonConsole) -> Mapping[str, Result]:
    await clockwork.start()
    clockwork.fire()
    console.event("ticks.ready", message="the schedules fire; Ctrl-C ends it")
    while True:
        await asyncio.sleep(1)
        console.summarise()
