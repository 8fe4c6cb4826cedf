"""`scheduler templates`: jobs again and again."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import inputs, views
from cli.command import ApiSession, api_command
from scheduler_core.clock import utc_now

app: Final = typer.Typer(help="Jobs again and again, by cron or interval.", no_args_is_help=True)

TemplateId = Annotated[str, typer.Argument(metavar="TEMPLATE", help="The template's id.", callback=inputs.segment)]
Cron = Annotated[str | None, typer.Option(help="5 fields, or 6 with seconds first.")]
Every = Annotated[str | None, typer.Option(metavar="30s|5m|2h|1d", help="An interval, instead of --cron.")]
Timezone = Annotated[str | None, typer.Option(help="An IANA name such as Europe/Berlin; UTC if not given.")]


class CatchUp(StrEnum):
    """What becomes of runs that were missed while the scheduler was down."""

    ONCE = "once"
    ALL = "all"
    NONE = "none"


@api_command(app, "create")
def create(
    api: ApiSession,
    name: Annotated[str | None, typer.Argument(help="A name that no other template of yours has.")] = None,
    cron: Cron = None,
    every: Every = None,
    timezone: Timezone = None,
    url: Annotated[str | None, typer.Option(help="Where to deliver.")] = None,
    method: Annotated[str, typer.Option(help="HTTP method.")] = "POST",
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A header to send; repeatable.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The whole target as JSON, @file or -, instead of --url.")] = None,
    payload: Annotated[str | None, typer.Option(help="The body: JSON, @file, or - for standard input.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    start_at: Annotated[str | None, typer.Option(metavar="TIME", help="No run before.")] = None,
    end_at: Annotated[str | None, typer.Option(metavar="TIME", help="No run after.")] = None,
    max_runs: Annotated[int | None, typer.Option(help="The most runs.")] = None,
    jitter: Annotated[str | None, typer.Option(metavar="30s", help="Spread each run over this long.")] = None,
    catch_up: Annotated[CatchUp | None, typer.Option(help="Runs missed during downtime; `once` if not given.")] = None,
    catch_up_window: Annotated[
        str | None, typer.Option(metavar="1d", help="Runs missed longer ago are not caught up; a day if not given.")
    ] = None,
    priority: Annotated[int | None, typer.Option(help="-100 to 100, higher first.")] = None,
    max_retries: Annotated[int | None, typer.Option(help="0 to 100; 3 if not given.")] = None,
    retry_initial: Annotated[float | None, typer.Option(metavar="SECONDS", help="The first backoff's bound.")] = None,
    retry_max: Annotated[float | None, typer.Option(metavar="SECONDS", help="No backoff is longer.")] = None,
    retry_multiplier: Annotated[float | None, typer.Option(help="Growth of the backoff.")] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="30s", help="How long the target may take, up to 300 s.")
    ] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Kept with it; repeatable.")] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Make it, but let it not run yet.")] = False,
    body_file: Annotated[
        Path | None, typer.Option("--file", help="The whole body as a JSON file, instead of the options above.")
    ] = None,
) -> None:
    """Make a template that makes jobs."""
    now = utc_now()
    body: Any
    if body_file is not None:
        body = inputs.document(f"@{body_file}", "--file")
    else:
        if name is None:
            raise typer.BadParameter("a template needs a name", param_hint="NAME")
        body = inputs.given_only(
            name=name,
            description=description,
            **_schedule(cron, every, timezone),
            start_at=None if start_at is None else inputs.when(start_at, now, "--start-at"),
            end_at=None if end_at is None else inputs.when(end_at, now, "--end-at"),
            max_runs=max_runs,
            jitter_seconds=None if jitter is None else inputs.whole_seconds(jitter, "--jitter"),
            catch_up=catch_up,
            catch_up_window_seconds=None
            if catch_up_window is None
            else inputs.whole_seconds(catch_up_window, "--catch-up-window"),
            target=inputs.target(url, method, header or [], target),
            priority=priority,
            max_retries=max_retries,
            retry=inputs.retry_policy(retry_initial, retry_max, retry_multiplier),
            timeout_seconds=None if timeout is None else inputs.whole_seconds(timeout, "--timeout"),
            metadata=inputs.pairs(metadata or [], "--metadata"),
            active=False if paused else None,
        )
        if payload is not None:
            body["payload"] = inputs.document(payload, "--payload")
    with api.client() as client:
        api.out.show(client.call("POST", "/templates", body=body), _page)


@api_command(app, "list")
def list_(
    api: ApiSession,
    limit: Annotated[int, typer.Option(min=1, help="The most to list.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on where an answer with this next_cursor ended.")] = None,
    name: Annotated[str | None, typer.Option(help="Only the one with this name.")] = None,
    active: Annotated[bool | None, typer.Option("--active/--paused", help="Only those in this state.")] = None,
) -> None:
    """List templates, newest first."""
    state = None if active is None else str(active).lower()
    with api.client() as client:
        found = client.listing("/templates", most=limit, cursor=cursor, name=name, active=state)
    api.out.show(found, lambda page: views.templates(page["items"]))
    if found["next_cursor"]:
        api.out.remark(f"more with --limit or --cursor {found['next_cursor']}")


@api_command(app, "show")
def show(api: ApiSession, template: TemplateId) -> None:
    """Show a template."""
    with api.client() as client:
        api.out.show(client.get(f"/templates/{template}"), _page)


@api_command(app, "preview")
def preview(
    api: ApiSession,
    template: Annotated[
        str | None, typer.Argument(metavar="[TEMPLATE]", help="A template's id; or use --cron or --every.")
    ] = None,
    cron: Cron = None,
    every: Every = None,
    timezone: Timezone = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="How many runs.")] = 10,
    after: Annotated[
        str | None, typer.Option(metavar="TIME", help="The runs after this moment; now if not given.")
    ] = None,
) -> None:
    """Show the next runs of a template, or of a schedule that is not stored."""
    schedule = _schedule(cron, every, timezone)
    if (template is None) == (not schedule):
        raise typer.BadParameter("give either a template's id, or --cron or --every", param_hint="TEMPLATE")
    query = {"count": count, "after": None if after is None else inputs.when(after, utc_now(), "--after")}
    with api.client() as client:
        if template is not None:
            runs = client.get(f"/templates/{inputs.segment(template)}/preview", **query)
        else:
            runs = client.call("POST", "/templates/preview", query=query, body=schedule)
    api.out.show(runs, lambda answer: views.preview(answer["items"], utc_now()))


@api_command(app, "pause")
def pause(api: ApiSession, template: TemplateId) -> None:
    """Pause a template; its pending runs are cancelled."""
    _edit(api, template, active=False)


@api_command(app, "resume")
def resume(api: ApiSession, template: TemplateId) -> None:
    """Let a paused template run again."""
    _edit(api, template, active=True)


@api_command(app, "run")
def run(api: ApiSession, template: TemplateId) -> None:
    """Make one job of a template now."""
    with api.client() as client:
        api.out.show(client.call("POST", f"/templates/{template}/run"), lambda job: views.job(job, utc_now()))


@api_command(app, "delete")
def delete(api: ApiSession, template: TemplateId) -> None:
    """Delete a template; its history of jobs stays."""
    with api.client() as client:
        client.call("DELETE", f"/templates/{template}")
    api.out.show({"deleted": template}, views.tree)


def _edit(api: ApiSession, template: str, *, active: bool) -> None:
    with api.client() as client:
        api.out.show(client.call("PATCH", f"/templates/{template}", body={"active": active}), _page)


def _page(template: dict[str, Any]) -> Any:
    return views.template(template, utc_now())


def _schedule(cron: str | None, every: str | None, timezone: str | None) -> dict[str, Any]:
    return inputs.given_only(
        cron=cron,
        interval_seconds=None if every is None else inputs.whole_seconds(every, "--every"),
        timezone=timezone,
    )
