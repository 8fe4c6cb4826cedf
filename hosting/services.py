"""The two long-running parts of a self-hosted installation: the gateway that producers call, and the workers.

The gateway runs the functions that have routes, and the authorizer; the workers run those that have schedules, fire
them, and can be invoked by the gateway's functions. There may be several of either: what must not happen twice is
decided in PostgreSQL and Redis, never by who runs where.
"""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from typing import Any

from hosting import web
from hosting.access_log import AccessLog
from hosting.environments import documented_settings, environment_of
from hosting.gateway import Gateway, Receive, Scope, Send
from hosting.invoke_api import InvokeApi
from hosting.invoker import Invoker
from hosting.reports import Reports
from hosting.settings import ROOT, HostingSettings
from hosting.template import Function, Template
from hosting.ticker import Ticker

_LAST_WORDS_SECONDS = 5.0
"""What an executor is given beyond STOP_SECONDS, to write down what came of its deliveries."""
_REQUEST_SECONDS = 10
"""What requests under way are given at the end."""


async def gateway(template: Template, settings: HostingSettings, reports: Reports) -> None:
    """Serve the API until SIGTERM or SIGINT."""
    ending = _ending()
    bound = web.listen(settings.listen_address, settings.gateway_port)
    names = {route.function for route in template.routes} | {each.function for each in template.authorizers}
    functions = _named(template, names)
    invoker = Invoker(
        functions,
        _environments(functions, {}),
        reports,
        caps={
            **dict.fromkeys((f.name for f in functions), settings.api_processes),
            **dict.fromkeys((a.function for a in template.authorizers), settings.authorizer_processes),
        },
    )
    application: Any = Gateway(template, invoker, reports)
    if settings.access_log:
        application = AccessLog(application, reports)
    server = web.WebServer(application, bound, grace_seconds=_REQUEST_SECONDS)
    try:
        await asyncio.gather(*(pool.warm() for pool in invoker.pools.values()))
        await server.start()
        reports.event("gateway.ready", address=settings.listen_address, port=server.port)
        await ending.wait()
        reports.event("gateway.ending")
    finally:
        await server.stop()
        await invoker.stop()


async def workers(template: Template, settings: HostingSettings, reports: Reports) -> None:
    """Fire the schedules and run what they start until SIGTERM or SIGINT; then end as `STOP_SECONDS` says."""
    ending = _ending()
    bound = web.listen(settings.listen_address, settings.invoke_port)
    functions = _named(template, {schedule.function for schedule in template.schedules})
    # What workers ask for themselves stays here: each of several adds its own share of executors.
    own = f"http://{web.LOOPBACK}:{settings.invoke_port}"
    invoker = Invoker(
        functions,
        _environments(functions, {"FUNCTIONS_ENDPOINT": own, "STOP_SECONDS": str(settings.stop_seconds)}),
        reports,
        caps={"executor": settings.executor_processes},
        grace_seconds=settings.stop_seconds + _LAST_WORDS_SECONDS,
    )
    ticker = Ticker(template.schedules, invoker, reports)
    server = web.WebServer(WorkersDoor(InvokeApi(invoker), invoker, ticker), bound)
    try:
        await server.start()
        invoker.start()
        ticker.start()
        reports.event("workers.ready", address=settings.listen_address, port=server.port)
        await ending.wait()
        reports.event("workers.ending", seconds=settings.stop_seconds)
    finally:
        await ticker.stop()
        await server.stop()
        await invoker.stop()


class WorkersDoor:
    """The ASGI application of the workers: the Invoke API, and `GET /health`.

    Healthy means that schedules fire and that no function's last run failed for good: 200, else 503 with the names.
    """

    def __init__(self, invoke_api: InvokeApi, invoker: Invoker, ticker: Ticker) -> None:
        self._invoke_api = invoke_api
        self._invoker = invoker
        self._ticker = ticker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/health" or scope["method"] != "GET":
            await self._invoke_api(scope, receive, send)
            return
        failing, ticks = sorted(self._invoker.failing), self._ticker.ticks
        healthy = ticks and not failing
        body = json.dumps({"status": "ok" if healthy else "failing", "ticks": ticks, "failing": failing}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200 if healthy else 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _ending() -> asyncio.Event:
    ending = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, ending.set)
    return ending


def _named(template: Template, names: set[str]) -> list[Function]:
    return [function for function in template.functions if function.name in names]


def _environments(functions: list[Function], supplied: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
    settings = documented_settings(ROOT / ".env.example")
    return {f.name: environment_of(f, supplied=supplied, own=os.environ, settings=settings) for f in functions}
