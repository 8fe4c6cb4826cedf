"""`scheduler jobs`: ask for jobs, look at them, follow one to its end."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import inputs, views
from cli.command import ApiSession, api_command
from cli.exits import CommandError, ExitCode
from scheduler_core.clock import utc_now
from scheduler_core.domain.lifecycle import JobStatus, ScheduleType

app: Final = typer.Typer(help="Deliveries, once at a time.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", callback=inputs.segment)]


class Kind(StrEnum):
    """What a producer may ask for; recurring jobs come from templates."""

    ONE_TIME = ScheduleType.ONE_TIME.value
    POLLING = ScheduleType.POLLING.value


@api_command(app, "create")
def create(
    api: ApiSession,
    url: Annotated[str | None, typer.Option(help="Where to deliver.")] = None,
    method: Annotated[str, typer.Option(help="HTTP method.")] = "POST",
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A header to send; repeatable.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The whole target as JSON, @file or -, instead of --url.")] = None,
    payload: Annotated[str | None, typer.Option(help="The body: JSON, @file, or - for standard input.")] = None,
    in_: Annotated[str | None, typer.Option("--in", metavar="30s|5m|2h|1d", help="Due after this long.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Due at this time: RFC 3339, or HH:MM (UTC).")] = None,
    priority: Annotated[int | None, typer.Option(help="-100 to 100, higher first.")] = None,
    reference: Annotated[str | None, typer.Option(help="Your own id for it.")] = None,
    max_retries: Annotated[int | None, typer.Option(help="0 to 100; 3 if not given.")] = None,
    retry_initial: Annotated[float | None, typer.Option(metavar="SECONDS", help="The first backoff's bound.")] = None,
    retry_max: Annotated[float | None, typer.Option(metavar="SECONDS", help="No backoff is longer.")] = None,
    retry_multiplier: Annotated[float | None, typer.Option(help="Growth of the backoff.")] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="30s", help="How long the target may take, up to 300 s.")
    ] = None,
    expires: Annotated[str | None, typer.Option(metavar="TIME", help="Do not start it at or after this time.")] = None,
    expires_in: Annotated[str | None, typer.Option(metavar="1h", help="Do not start it after this long.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Kept with it; repeatable.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="`polling`: ask again while the target answers 202.")] = None,
    interval: Annotated[str | None, typer.Option(metavar="10s", help="Polling: how long between questions.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="Polling: the most questions.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key never makes a second job (24 h).")] = None,
    body_file: Annotated[
        Path | None, typer.Option("--file", help="The whole body as a JSON file, instead of the options above.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
) -> None:
    """Ask for one delivery: now, in a while, or at a time."""
    now = utc_now()
    if in_ is not None and at is not None:
        raise typer.BadParameter("give either --in or --at", param_hint="--at")
    body: Any
    if body_file is not None:
        body = inputs.document(f"@{body_file}", "--file")
    else:
        body = inputs.given_only(
            target=inputs.target(url, method, header or [], target),
            delay_seconds=None if in_ is None else inputs.span(in_, "--in"),
            scheduled_at=None if at is None else inputs.when(at, now, "--at"),
            priority=priority,
            reference_id=reference,
            max_retries=max_retries,
            retry=inputs.retry_policy(retry_initial, retry_max, retry_multiplier),
            timeout_seconds=None if timeout is None else inputs.whole_seconds(timeout, "--timeout"),
            expires_at=inputs.deadline(expires, expires_in, now),
            metadata=inputs.pairs(metadata or [], "--metadata"),
            schedule_type=kind,
            interval_seconds=None if interval is None else inputs.whole_seconds(interval, "--interval"),
            max_attempts=max_attempts,
        )
        if payload is not None:
            body["payload"] = inputs.document(payload, "--payload")
    headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
    with api.client() as client:
        made = client.call("POST", "/jobs", body=body, headers=headers)
    if not watch:
        api.out.show(made, lambda job: views.job(job, utc_now()))
    if watch:
        _follow(api, made["id"])


@api_command(app, "list")
def list_(
    api: ApiSession,
    status: Annotated[list[JobStatus] | None, typer.Option(help="Only these; repeatable.")] = None,
    template: Annotated[str | None, typer.Option(help="Only the runs of this template.")] = None,
    reference: Annotated[str | None, typer.Option(help="Only those with this reference.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Scheduled at or after.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Scheduled before.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most to list.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on where an answer with this next_cursor ended.")] = None,
) -> None:
    """List jobs, newest first."""
    now = utc_now()
    query = {
        "status": ",".join(status) if status else None,
        "template_id": template,
        "reference_id": reference,
        "scheduled_from": None if since is None else inputs.when(since, now, "--since"),
        "scheduled_to": None if until is None else inputs.when(until, now, "--until"),
    }
    with api.client() as client:
        found = client.listing("/jobs", most=limit, cursor=cursor, **query)
    api.out.show(found, lambda page: views.jobs(page["items"], utc_now()))
    if found["next_cursor"]:
        api.out.remark(f"more with --limit or --cursor {found['next_cursor']}")


@api_command(app, "show")
def show(api: ApiSession, job: JobId) -> None:
    """Show a job and every attempt at it."""
    with api.client() as client:
        found = client.get(f"/jobs/{job}")
        attempts = client.listing(f"/jobs/{job}/executions", most=1_000)["items"]
    api.out.show({**found, "executions": attempts}, lambda answer: views.job(answer, utc_now(), answer["executions"]))


@api_command(app, "cancel")
def cancel(api: ApiSession, job: JobId) -> None:
    """Cancel a job that has not ended; a running delivery is aborted."""
    with api.client() as client:
        api.out.show(client.call("DELETE", f"/jobs/{job}"), lambda answer: views.job(answer, utc_now()))


@api_command(app, "retry")
def retry(
    api: ApiSession,
    job: JobId,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
) -> None:
    """Redrive a failed or cancelled job, with all its retries again."""
    _post(api, job, "retry", watch=watch)


@api_command(app, "run")
def run(
    api: ApiSession,
    job: JobId,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
) -> None:
    """Run a waiting job now."""
    _post(api, job, "run", watch=watch)


@api_command(app, "watch")
def watch(
    api: ApiSession,
    job: JobId,
    timeout: Annotated[str | None, typer.Option(metavar="5m", help="Give up after this long (exit code 7).")] = None,
) -> None:
    """Follow a job to its end: exit code 0 if it completed, 1 if not.

    With --json: one line for each change, the last one is the end.
    """
    _follow(api, job, None if timeout is None else inputs.span(timeout, "--timeout"))


def _post(api: ApiSession, job: str, verb: str, *, watch: bool) -> None:
    with api.client() as client:
        answer = client.call("POST", f"/jobs/{job}/{verb}")
    if not watch:
        api.out.show(answer, lambda each: views.job(each, utc_now()))
    if watch:
        _follow(api, job)


def _follow(api: ApiSession, job: str, timeout_seconds: float | None = None) -> None:
    from cli.watching import follow  # only this command needs it

    with api.client() as client:
        ended = follow(client, api.out, job, timeout_seconds)
    if ended["status"] != JobStatus.COMPLETED:
        raise CommandError(ExitCode.FAILED, f"The job is {ended['status']}.", ended.get("last_error") or None)
