"""Shows a person what happens, or passes it on to a machine as JSON lines.

Up to 20 lines a second are shown one by one; what comes beyond that is counted and summed up at the second's end.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console as RichConsole
from rich.markup import escape

from hosting.reports import JsonLines
from scheduler_core.clock import utc_now

SHOWN_PER_SECOND = 20
Fields = Mapping[str, Any]


class JsonConsole(JsonLines):
    """For a machine."""

    def summarise(self) -> None:
        """Nothing is held back."""


class HumanConsole:
    """Short, coloured lines."""

    def __init__(self, out: RichConsole | None = None, clock: Callable[[], datetime] = utc_now) -> None:
        self._out = out or RichConsole(highlight=False, soft_wrap=True)
        self._clock = clock
        self._second = clock().replace(microsecond=0)
        self._shown = 0
        self._unshown: Counter[str] = Counter()

    def line(self, source: str, line: str) -> None:
        """A line of a function's: an event, a log record, or plain text."""
        if not line:
            return
        if not line.startswith("{"):
            self._show("text", f"[dim]{escape(source)}[/] {escape(line)}")
            return
        try:
            record = json.loads(line)
        except ValueError:
            self._show("text", f"[dim]{escape(source)}[/] {escape(line)}")
            return
        name = record.get("event")
        if isinstance(name, str):
            self._event(name, record)
        elif record.get("level") in ("WARNING", "ERROR", "CRITICAL"):
            self._show(record["level"].lower(), _log(source, record))

    def event(self, name: str, **fields: Any) -> None:
        """Something the stack itself noticed."""
        self._event(name, fields)

    def print(self, renderable: Any) -> None:
        """Print as it is, whatever else happens."""
        self._out.print(renderable)

    def summarise(self) -> None:
        """Say what was not shown, once its second is over. To be called about once a second."""
        now = self._clock().replace(microsecond=0)
        if now == self._second:
            return
        self._second, self._shown = now, 0
        if self._unshown:
            parts = ", ".join(f"{count:,} {name}" for name, count in sorted(self._unshown.items()))
            self._unshown.clear()
            self._out.print(f"[dim]{self._time()}  … and {parts}[/]")

    def _event(self, name: str, fields: Fields) -> None:
        known = _EVENTS.get(name)
        if known is None:
            if name.startswith("alert."):
                self._show("alert", _alert(name, fields))
            elif fields.get("level") in ("WARNING", "ERROR", "CRITICAL"):
                self._show(name, _log(name, fields))
            return
        if text := known(fields):
            self._show(fields.get("outcome") or name.rpartition(".")[2], text)

    def _show(self, kind: str, text: str) -> None:
        self.summarise()
        if self._shown >= SHOWN_PER_SECOND:
            self._unshown[kind] += 1
            return
        self._shown += 1
        self._out.print(f"[dim]{self._time()}[/]  {text}")

    def _time(self) -> str:
        return self._clock().astimezone().strftime("%H:%M:%S.%f")[:-3]


def _log(source: str, record: Fields) -> str:
    colour = "yellow" if record.get("level") == "WARNING" else "red"
    cause = record.get("cause") or record.get("exception_name") or record.get("error") or ""
    text = f"[{colour}]{escape(str(record.get('service', source)))}: {escape(str(record.get('message', '')))}[/]"
    return f"{text} [dim]{escape(str(cause))}[/]" if cause else text


def _alert(name: str, fields: Fields) -> str:
    what = name.removeprefix("alert.").replace("_", " ")
    return f"[yellow]▲ alert     {escape(what)}[/] [dim]{escape(str(fields.get('subject', '')))}[/]"


def _job(fields: Fields) -> str:
    return f"[cyan]{escape(str(fields.get('job_id', '')))}[/]"


def _clock_time(value: object) -> str:
    try:
        return datetime.fromisoformat(str(value)).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except ValueError:
        return escape(str(value))


def _created(fields: Fields) -> str:
    reference = f" [dim]{escape(str(fields['reference_id']))}[/]" if fields.get("reference_id") else ""
    return f"[blue]●[/] created   {_job(fields)} for {_clock_time(fields.get('scheduled_at'))}{reference}"


def _late(fields: Fields) -> str:
    late = fields.get("late_ms")
    return "" if late is None else f", {float(late):.0f} ms late"


def _ended(fields: Fields) -> str:
    outcome = str(fields.get("outcome"))
    where = f" → {escape(str(fields['url']))}" if fields.get("url") else ""
    status = f" {fields['http_status']}" if fields.get("http_status") else ""
    why = f" [dim]{escape(str(fields['error']))}[/]" if fields.get("error") else ""
    attempt = f" attempt {fields.get('attempt')}"
    again = f", again at {_clock_time(fields['next_run_at'])}" if fields.get("next_run_at") else ""
    match outcome:
        case "completed":
            took = f" in {float(fields['took_ms']):.0f} ms" if fields.get("took_ms") is not None else ""
            return f"[green]✔[/] delivered {_job(fields)}{where}{status}{took}{_late(fields)}"
        case "not_yet":
            return f"[blue]…[/] not yet   {_job(fields)}{where}{status}{again}"
        case "retried" | "lost":
            return f"[yellow]↻[/] {outcome:9} {_job(fields)}{where}{status}{attempt}{again}{why}"
        case _:
            return f"[red]✘[/] {escape(outcome):9} {_job(fields)}{where}{status}{attempt}{why}"


def _rescued(fields: Fields) -> str:
    again = f", again at {_clock_time(fields['next_run_at'])}" if fields.get("next_run_at") else ""
    return f"[yellow]↻[/] rescued   {_job(fields)} attempt {fields.get('attempt')}{again}"


def _materialised(fields: Fields) -> str:
    first = _clock_time(fields.get("first_nominal_at"))
    return (
        f"[blue]●[/] template  [cyan]{escape(str(fields.get('template_id')))}[/] {fields.get('runs')} runs from {first}"
    )


def _deliveries(fields: Fields) -> str:
    counts = ", ".join(f"{fields[name]:,} {name}" for name in ("completed", "retried", "failed") if fields.get(name))
    p50, most = fields.get("late_p50_ms"), fields.get("late_max_ms")
    late = "" if p50 is None else f", late by {float(p50):.0f} ms (median), {float(most or 0):.0f} ms (most)"
    return f"[green]✔[/] deliveries: {counts}{late}" if counts else ""


def _received(fields: Fields) -> str:
    colour = "green" if int(fields.get("status", 0)) < 300 else "yellow"
    what = f"{escape(str(fields['method']))} {escape(str(fields['path']))}"
    signed = {"valid": " [green]signature valid[/]", "invalid": " [red]signature invalid[/]"}
    mark = signed.get(str(fields.get("signature")), "")
    job = f"[cyan]{escape(str(fields['webhook_id']))}[/]"
    return f"[magenta]⇐[/] echo      {what} [{colour}]{fields['status']}[/] {job}{mark}"


def _process_ended(fields: Fields) -> str:
    code = int(fields.get("exit_code") or 0)
    return f"[yellow]{fields['function']} process {fields['pid']} ended with {code}[/]" if code else ""


_EVENTS: dict[str, Callable[[Fields], str]] = {
    "job.created": _created,
    "job.ended": _ended,
    "job.cancelled": lambda f: f"[dim]○ cancelled {_job(f)}[/]",
    "job.rescued": _rescued,
    "template.materialised": _materialised,
    "deliveries": _deliveries,
    "echo.received": _received,
    "echo.received_more": lambda f: f"[magenta]⇐[/] echo      {int(f['count']):,} more requests",
    "process.ended": _process_ended,
    "invocation.retried": lambda f: (
        f"[yellow]{f['function']} failed, again in {f['delay_seconds']} s[/] [dim]{escape(str(f['error']))}[/]"
    ),
    "invocation.dropped": lambda f: f"[red]{f['function']} failed for good[/] [dim]{escape(str(f['error']))}[/]",
    "gateway.failed": lambda f: f"[red]gateway: {f.get('function', '')} {escape(str(f['error']))}[/]",
    "tick.missed": lambda f: f"[yellow]no room for a tick of {f['function']}[/]",
    "ticks.ready": lambda f: f"[dim]{escape(str(f['message']))}[/]",
    "stack.notice": lambda f: f"[dim]{escape(str(f['message']))}[/]",
}
