"""What EventBridge is to the functions where nothing else fires the template's schedules: `sam local`, above all.

The functions run in processes of this machine, from the checkout, against stores that run elsewhere. So what an
executor delivers goes out from here, and a receiver on 127.0.0.1 can be reached.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from dev.local_environment import environments
from dev.vigil import Vigil
from hosting import web
from hosting.invoke_api import InvokeApi
from hosting.invoker import Invoker
from hosting.pool import Result
from hosting.reports import Reports
from hosting.template import Schedule, Template
from hosting.ticker import Ticker, scheduled_event

IN_ORDER = ("recurrence", "populator", "executor", "watcher")
"""One round: each finds what the one before has made. The watcher comes last, as it stays while something is overdue;
functions that are not named come first.
"""
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What the functions work with."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    signing_key: str = field(repr=False)


class Ticks:
    """The scheduled functions of a template, in processes of their own.

    `keep_executor`: one is always awake. `more` is what the functions are told besides.
    """

    def __init__(
        self,
        template: Template,
        stores: Stores,
        reports: Reports,
        *,
        keep_executor: bool = False,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._schedules = template.schedules
        bound = web.bind()
        supplied = {
            **more,
            "AWS_ENDPOINT_URL_LAMBDA": f"http://{web.LOOPBACK}:{bound.getsockname()[1]}",
            "DATABASE_URL": stores.database_url,
            "REDIS_URL": stores.redis_url,
            "SIGNING_KEY": stores.signing_key,
        }
        self._invoker = Invoker(template.functions, environments(template, supplied), reports)
        self._invoke_api = web.WebServer(InvokeApi(self._invoker), bound)
        self._ticker = Ticker(template.schedules, self._invoker, reports)
        self._vigil = Vigil(self._invoker, stores.redis_url) if keep_executor else None

    async def start(self) -> None:
        """Have everything ready to run; nothing is fired yet. With `keep_executor` one is awake afterwards."""
        await self._invoke_api.start()
        self._invoker.start()
        if self._vigil is not None:
            self._vigil.start()
            await self._vigil.until_awake()

    def fire(self) -> None:
        """Fire every schedule now, and then at its rate."""
        self._ticker.start()

    async def once(self) -> Mapping[str, Result]:
        """Fire every schedule once, one after the other; answers when all that this set going has come to its end."""
        results = {}
        for schedule in in_order(self._schedules):
            results[schedule.function] = await self._invoker.invoke(schedule.function, scheduled_event(schedule))
        while not self._invoker.idle:  # noqa: ASYNC110 - it says no more than that
            await asyncio.sleep(_LOOK_SECONDS)
        return results

    async def stop(self) -> None:
        """Fire no more and end every process; a delivery under way may take two more seconds."""
        await self._ticker.stop()
        if self._vigil is not None:
            await self._vigil.stop()
        await self._invoker.stop()
        await self._invoke_api.stop()


def in_order(schedules: Sequence[Schedule]) -> list[Schedule]:
    """As one round fires them."""
    return sorted(schedules, key=lambda each: IN_ORDER.index(each.function) if each.function in IN_ORDER else -1)
