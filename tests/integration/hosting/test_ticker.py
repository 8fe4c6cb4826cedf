"""Schedules are fired."""

import asyncio
from datetime import timedelta

from hosting.invoker import Invoker
from hosting.template import Schedule
from hosting.ticker import Ticker
from tests.integration.hosting.parts import Heard


class _Recorder(Invoker):
    """Counts instead of invoking."""

    def __init__(self) -> None:
        super().__init__((), {}, Heard())
        self.fired: list[tuple[str, object]] = []

    def invoke_async(self, name: str, event: object) -> str:
        self.fired.append((name, event))
        return "id"


def test_a_schedule_is_fired_at_once_and_then_at_its_rate() -> None:
    recorder = _Recorder()
    often = Schedule(name="Often", function="stub", every=timedelta(milliseconds=100))
    seldom = Schedule(name="Seldom", function="gate", every=timedelta(hours=1))

    async def scenario() -> None:
        ticker = Ticker([often, seldom], recorder, Heard())
        ticker.start()
        await asyncio.sleep(0.35)
        await ticker.stop()
        fired = len(recorder.fired)
        await asyncio.sleep(0.2)
        assert len(recorder.fired) == fired

    asyncio.run(scenario())
    assert [name for name, _ in recorder.fired].count("gate") == 1
    assert 3 <= [name for name, _ in recorder.fired].count("stub") <= 5
    event = recorder.fired[0][1]
    assert isinstance(event, dict)
    assert event["source"] == "aws.scheduler"
