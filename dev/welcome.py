"""What a person is told when everything is ready."""

import json
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


def curl(facts: Mapping[str, str]) -> str:
    """One line to paste: a job for the echo receiver, due in two seconds."""
    job = {
        "target": {"type": "http", "url": f"{facts['echo_url']}/hello"},
        "payload": {"hello": "world"},
        "delay_seconds": 2,
    }
    headers = f"-H 'x-api-key: {facts['api_key']}' -H 'content-type: application/json'"
    return f"curl -sS {facts['url']}/jobs {headers} -d '{json.dumps(job)}'"


def welcome(facts: Mapping[str, str], *, port_taken: int | None) -> RenderableType:
    """The panel, and below it, unwrapped, the line to paste."""
    table = Table.grid(padding=(0, 2))
    table.add_row("API", Text(facts["url"], style="bold"))
    table.add_row("docs", f"{facts['url']}/docs")
    table.add_row("API key", facts["api_key"])
    table.add_row("webhook secret", facts["webhook_secret"])
    table.add_row("echo receiver", f"{facts['echo_url']}  [dim]?status=503  ?delay_ms=250  ?fail_first=2[/]")
    parts: list[RenderableType] = [table]
    if port_taken is not None:
        parts.insert(0, Text(f"Port {port_taken} is taken: the API is on another one.\n", style="bold yellow"))
    panel = Panel(
        Group(*parts), title="The scheduler is ready", subtitle="Ctrl-C ends it", expand=False, border_style="green"
    )
    return Group(
        panel,
        Text("\nA job to try, delivered two seconds later:\n", style="dim"),
        Text(curl(facts), overflow="ignore", no_wrap=True),
        Text(""),
    )
