"""What people see: tables that fit 80 columns, pages of facts, one look for all commands."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import times

STATUS_STYLES: Final = {
    "pending": "cyan",
    "running": "blue",
    "retrying": "yellow",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "dim",
    "expired": "magenta",
}
_OUTCOME_STYLES: Final = {"completed": "green", "failed": "bold red", "retried": "yellow", "lost": "yellow"}
Item = Mapping[str, Any]


def grid(*headings: str) -> Table:
    """An unframed table; only the last column gives way where the line is too short, see `cut`."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1])
    return table


def cut(text: str, style: str = "") -> Text:
    """Text of a last column: one line, cut where the line ends."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def facts(pairs: Sequence[tuple[str, RenderableType | None]]) -> Table:
    """A page of `name  value`; names without a value are left out."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, ""):
            table.add_row(name, value)
    return table


def status(word: str) -> Text:
    return Text(word, style=STATUS_STYLES.get(word, ""))


def flag(value: bool, yes: str, no: str) -> Text:
    return Text(yes, style="green") if value else Text(no, style="yellow")


def _full(item: Item, name: str, now: datetime) -> str | None:
    value = times.read(item.get(name))
    return None if value is None else times.full(value, now)


def _short(text: str | None, now: datetime) -> str:
    value = times.read(text)
    return "-" if value is None else times.short(value, now)


def destination(target: Item) -> str:
    """Where a delivery goes, without query or credentials."""
    if target.get("type") == "http":
        parts = urlsplit(str(target.get("url", "")))
        return f"{target.get('method', 'POST')} {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return " ".join(str(value) for value in (target.get("type"), target.get("arn") or target.get("queue_url")) if value)


def _place(target: Item) -> str:
    """The destination in a table's cell: what tells one from another comes first."""
    return destination(target).partition("://")[2] or destination(target)


def jobs(items: Sequence[Item], now: datetime) -> RenderableType:
    """A listing of jobs: what each waits for, or when it ended."""
    if not items:
        return Text("no jobs", style="dim")
    table = grid("ID", "STATUS", "WHEN", "TARGET")
    for job in items:
        moment = job.get("completed_at") or job.get("next_run_at") or job.get("scheduled_at")
        table.add_row(job["id"], status(job["status"]), _short(moment, now), cut(_place(job["target"])))
    return table


def job(item: Item, now: datetime, attempts: Sequence[Item] = ()) -> RenderableType:
    """A job on a page of its own, with its attempts."""
    known = facts(
        [
            ("id", item["id"]),
            ("status", status(item["status"])),
            ("target", destination(item["target"])),
            ("scheduled", _full(item, "scheduled_at", now)),
            ("next run", _full(item, "next_run_at", now)),
            ("last run", _full(item, "last_run_at", now)),
            ("ended", _full(item, "completed_at", now)),
            ("expires", _full(item, "expires_at", now)),
            ("retries", f"{item.get('retries', 0)} of {item['max_retries']}" if "max_retries" in item else None),
            ("priority", str(item["priority"]) if item.get("priority") else None),
            ("reference", item.get("reference_id")),
            ("template", item.get("template_id")),
            ("last error", Text(item["last_error"], style="red") if item.get("last_error") else None),
            ("created", _full(item, "created_at", now)),
        ]
    )
    if not attempts:
        return known
    return Group(known, "", executions(attempts, now))


def executions(items: Sequence[Item], now: datetime) -> RenderableType:
    """The attempts of a job, oldest first, with how late each started and how long it took."""
    table = grid("ATTEMPT", "OUTCOME", "STARTED", "LATE", "TOOK", "HTTP", "ERROR")
    for each in sorted(items, key=lambda item: int(item["attempt"])):
        due, began, ended = (times.read(each.get(name)) for name in ("due_at", "started_at", "finished_at"))
        table.add_row(
            str(each["attempt"]),
            Text(each["outcome"], style=_OUTCOME_STYLES.get(each["outcome"], "")),
            _short(each.get("started_at"), now),
            times.duration(max(0.0, (began - due).total_seconds())) if began and due else "-",
            times.duration((ended - began).total_seconds()) if began and ended else "-",
            str(each.get("http_status") or "-"),
            Text(each.get("error") or "", style="red", overflow="fold"),
        )
    return table


def _rhythm(item: Item) -> str:
    if item.get("cron"):
        return str(item["cron"])
    return f"every {times.duration(float(item['interval_seconds']))}"


def templates(items: Sequence[Item]) -> RenderableType:
    """A listing of templates."""
    if not items:
        return Text("no templates", style="dim")
    table = grid("ID", "STATE", "SCHEDULE", "NAME")
    for each in items:
        table.add_row(each["id"], flag(each["active"], "active", "paused"), _rhythm(each), cut(each["name"]))
    return table


def template(item: Item, now: datetime) -> RenderableType:
    """A template on a page of its own."""
    return facts(
        [
            ("id", item["id"]),
            ("name", item["name"]),
            ("description", item.get("description")),
            ("state", flag(item["active"], "active", "paused")),
            ("why", item.get("paused_reason")),
            ("schedule", f"{_rhythm(item)} ({item.get('timezone', 'UTC')})"),
            ("next run", _full(item, "next_run_at", now)),
            ("last run", _full(item, "last_run_at", now)),
            ("starts", _full(item, "start_at", now)),
            ("ends", _full(item, "end_at", now)),
            ("runs", f"{item['runs']} of {item['max_runs']}" if item.get("max_runs") else str(item.get("runs", ""))),
            ("jitter", f"{item['jitter_seconds']} s" if item.get("jitter_seconds") else None),
            ("target", destination(item["target"])),
        ]
    )


def preview(items: Sequence[Item], now: datetime) -> RenderableType:
    """The next runs of a schedule."""
    if not items:
        return Text("no run ahead", style="dim")
    table = grid("NOMINAL (UTC)", "IN", "LOCAL")
    for each in items:
        moment = datetime.fromisoformat(each["nominal_at"])
        local = datetime.fromisoformat(each["local_time"]).isoformat(sep=" ", timespec="seconds")
        table.add_row(times.rfc3339(moment), times.relative(moment, now), local)
    return table


def merchants(items: Sequence[Item]) -> RenderableType:
    """A listing of merchants with their limits."""
    if not items:
        return Text("no merchants", style="dim")
    table = grid("ID", "WEIGHT", "AT ONCE", "PER S", "NAME")
    for each in items:
        limits = (str(each[name] or "-") for name in ("max_concurrency", "rate_limit_per_second"))
        table.add_row(each["id"], str(each["weight"]), *limits, cut(each["name"]))
    return table


def keys(items: Sequence[Item], now: datetime) -> RenderableType:
    """A listing of API keys: never their secrets."""
    if not items:
        return Text("no keys", style="dim")
    table = grid("ID", "STATE", "ENV", "LAST USED", "NAME")
    for each in items:
        table.add_row(
            each["id"], each["state"], each["environment"], _short(each["last_used_at"], now), cut(each["name"])
        )
    return table


def stats(answer: Item) -> RenderableType:
    """How much there is, and how it goes."""
    age = answer.get("oldest_due_age_seconds")
    whole = answer.get("counts_complete", True)
    return facts(
        [
            *((word, f"{count:,}") for word, count in answer["counts"].items()),
            ("counted", None if whole else f"the newest jobs only, since {answer.get('counted_since')}"),
            ("oldest due", "nothing is due" if age is None else f"waits for {times.duration(age)}"),
            ("last hour", f"{answer['completed_last_hour']:,} completed, {answer['failed_last_hour']:,} failed"),
        ]
    )


def tree(answer: Item) -> RenderableType:
    """Any answer as `name  value`, one level of nesting spelled with a dot."""
    rows: list[tuple[str, RenderableType | None]] = []
    for name, value in answer.items():
        label = name.replace("_", " ")
        if isinstance(value, Mapping):
            rows += [(f"{label}.{inner}", str(each)) for inner, each in value.items()]
        else:
            rows.append((label, None if value is None else str(value)))
    return facts(rows)
