"""The real functions in real processes, without schedules: a test says when a tick is."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from hosting import web
from hosting.environments import documented_settings, environment_of
from hosting.invoke_api import InvokeApi
from hosting.invoker import Invoker
from hosting.template import read_template
from tests.conftest import ROOT
from tests.integration.hosting.parts import Heard


@asynccontextmanager
async def functions(settings: Mapping[str, str], caps: Mapping[str, int]) -> AsyncIterator[tuple[Invoker, Heard]]:
    """An invoker over every function of the template, which reach one another through it."""
    template, heard, bound = read_template(ROOT / "template.yaml"), Heard(), web.bind()
    supplied = {
        "SIGNING_KEY": "k" * 32,
        "EXECUTOR_FUNCTION": "executor",
        "POPULATOR_FUNCTION": "populator",
        "WATCHER_FUNCTION": "watcher",
        "AWS_ENDPOINT_URL_LAMBDA": f"http://{web.LOOPBACK}:{bound.getsockname()[1]}",
        **settings,
    }
    documented = documented_settings(ROOT / ".env.example")
    environments = {f.name: environment_of(f, supplied=supplied, settings=documented) for f in template.functions}
    invoker = Invoker(template.functions, environments, heard, caps=caps)
    server = web.WebServer(InvokeApi(invoker), bound)
    await server.start()
    invoker.start()
    try:
        yield invoker, heard
    finally:
        await server.stop()
        await invoker.stop()
