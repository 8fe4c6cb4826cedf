"""Whoever waits for a store asks several times a second; the log hears of it once, and each minute that it lasts."""

import pytest

from scheduler_core.observability import outage
from scheduler_core.observability.outage import AGAIN_SECONDS, Outage


class Said:
    """The log's lines, and a clock that the test moves."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.now = 0.0

    def warning(self, message: str, *, extra: dict[str, object]) -> None:
        self.lines.append(f"{message}: {extra}")

    def info(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    said = Said()
    monkeypatch.setattr(outage, "logger", said)
    return said


def test_a_long_outage_is_told_when_it_begins_each_minute_and_when_it_is_over(said: Said) -> None:
    away = Outage("the database", "results wait", clock=lambda: said.now)
    away.is_over()
    for _ in range(450):  # 90 seconds
        away.goes_on(ConnectionError("refused"), count=7)
        said.now += 0.2
    assert said.lines == ["the database is away; results wait: {'cause': 'refused', 'count': 7}"] * 2
    away.is_over()
    away.is_over()
    assert said.lines[2:] == ["the database is back"]


def test_the_next_outage_is_told_at_once(said: Said) -> None:
    away = Outage("the ready queue", "waiting for it", clock=lambda: said.now)
    away.goes_on(ConnectionError("first"))
    away.is_over()
    said.now += AGAIN_SECONDS / 2
    away.goes_on(ConnectionError("second"))
    assert [line.rpartition(" ")[2] for line in said.lines] == ["'first'}", "back", "'second'}"]
