"""What a person and a machine are shown."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from dev.console import SHOWN_PER_SECOND, HumanConsole, JsonConsole


class _Person:
    """A console, what it printed, and a clock to turn."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self._out = io.StringIO()
        self.console = HumanConsole(Console(file=self._out, width=200, highlight=False), lambda: self.now)

    def tell(self, **record: Any) -> None:
        self.console.line("executor", json.dumps(record))

    @property
    def seen(self) -> list[str]:
        return self._out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"event": "job.created", "job_id": "j", "scheduled_at": "2026-01-01T00:00:05+00:00"}, ["created", "j"]),
        (
            {
                "event": "job.ended",
                "job_id": "j",
                "outcome": "completed",
                "http_status": 200,
                "late_ms": 3.4,
                "took_ms": 12.1,
                "url": "http://127.0.0.1:1",
            },
            ["delivered", "http://127.0.0.1:1", "200", "in 12 ms", "3 ms late"],
        ),
        (
            {
                "event": "job.ended",
                "job_id": "j",
                "outcome": "retried",
                "attempt": 2,
                "http_status": 503,
                "error": "HTTP 503",
                "next_run_at": "2026-01-01T00:00:09.5+00:00",
            },
            ["retried", "attempt 2", "again at", "09.500", "HTTP 503"],
        ),
        (
            {"event": "job.ended", "job_id": "j", "outcome": "failed", "attempt": 4, "error": "[gone]"},
            ["failed", "[gone]"],
        ),
        (
            {"event": "job.rescued", "job_id": "j", "attempt": 1, "next_run_at": "2026-01-01T00:00:09+00:00"},
            ["rescued"],
        ),
        ({"event": "job.cancelled", "job_id": "j"}, ["cancelled", "j"]),
        ({"event": "template.materialised", "template_id": "t", "runs": 3, "first_nominal_at": "x"}, ["3 runs", "t"]),
        (
            {"event": "deliveries", "completed": 1200, "retried": 0, "failed": 2, "late_p50_ms": 4, "late_max_ms": 9},
            ["1,200 completed", "2 failed", "4 ms"],
        ),
        (
            {"level": "WARNING", "service": "populator", "message": "careful", "cause": "why"},
            ["populator", "careful", "why"],
        ),
        ({"event": "alert.dead_letters", "level": "WARNING", "subject": "m"}, ["dead letters", "m"]),
        (
            {
                "event": "echo.received",
                "method": "POST",
                "path": "/x",
                "status": 200,
                "webhook_id": "w",
                "signature": "valid",
            },
            ["POST /x", "200", "w", "signature valid"],
        ),
    ],
)
def test_an_event_is_one_readable_line(record: dict[str, Any], words: list[str]) -> None:
    person = _Person()
    person.tell(**record)
    (line,) = person.seen
    for word in words:
        assert word in line


def test_what_nobody_needs_to_see_is_not_shown() -> None:
    person = _Person()
    person.tell(level="INFO", message="routine")
    person.tell(_aws={"CloudWatchMetrics": []}, service="watcher")
    person.tell(event="something.new", level="INFO")
    person.console.line("api", "")
    assert person.seen == []


def test_plain_text_is_shown_with_its_source_and_never_taken_for_markup() -> None:
    person = _Person()
    person.console.line("api", "[/] Traceback [bold]")
    person.console.line("api", "{not json")
    assert "api [/] Traceback [bold]" in person.seen[0]
    assert "{not json" in person.seen[1]


def test_a_flood_is_counted_and_summed_up_when_its_second_is_over() -> None:
    person = _Person()
    for number in range(500):
        person.tell(event="job.ended", job_id=str(number), outcome="completed")
    for number in range(3):
        person.tell(event="job.created", job_id=str(number), scheduled_at="2026-01-01T00:00:05+00:00")
    person.console.summarise()
    assert len(person.seen) == SHOWN_PER_SECOND
    person.now += timedelta(seconds=1)
    person.console.summarise()
    assert person.seen[-1].endswith(f"… and {500 - SHOWN_PER_SECOND} completed, 3 created")
    person.console.summarise()
    assert len(person.seen) == SHOWN_PER_SECOND + 1


def test_a_machine_gets_the_functions_lines_untouched_and_everything_else_as_json() -> None:
    out = io.StringIO()
    console = JsonConsole(out)
    console.line("api", '{"a": 1}')
    console.line("api", "text")
    console.event("stack.ready", url="http://x")
    first, second, third = out.getvalue().splitlines()
    assert first == '{"a": 1}'
    assert json.loads(second)["line"] == "text"
    assert json.loads(third)["event"] == "stack.ready"
