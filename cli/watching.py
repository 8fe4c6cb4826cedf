"""Follows one job until it ends: asks often while something is about to happen, rarely while nothing is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from rich.live import Live

from cli import times, views
from cli.client import ApiClient
from cli.exits import CommandError, ExitCode
from cli.output import Output
from scheduler_core.clock import utc_now
from scheduler_core.domain.lifecycle import TERMINAL

type Answer = dict[str, Any]

_BUSY_SECONDS: Final = 0.3
_IDLE_SECONDS: Final = 2.0
_OUTAGE_SECONDS: Final = 60.0
"""How long the service may be away before the follower gives up."""


def follow(client: ApiClient, out: Output, job_id: str, timeout_seconds: float | None = None) -> Answer:
    """The job as it ended. A CommandError when the time is up, or the job is not there."""
    give_up_at = None if timeout_seconds is None else utc_now() + timedelta(seconds=timeout_seconds)
    with _view(out) as show:
        answered_at = utc_now()
        while True:
            now = utc_now()
            try:
                job = client.get(f"/jobs/{job_id}")
                attempts = client.listing(f"/jobs/{job_id}/executions", most=1_000)["items"]
                answered_at = now
            except CommandError as error:
                if error.code is not ExitCode.UNAVAILABLE or now - answered_at > timedelta(seconds=_OUTAGE_SECONDS):
                    raise
                time.sleep(_IDLE_SECONDS)
                continue
            show(job, attempts)
            if job["status"] in TERMINAL:
                return dict(job)
            if give_up_at is not None and now >= give_up_at:
                raise CommandError(ExitCode.UNAVAILABLE, f"The job is still {job['status']}.", "The timeout is over.")
            time.sleep(pause_seconds(job, now, give_up_at))


def pause_seconds(job: Answer, now: datetime, give_up_at: datetime | None) -> float:
    """How long to wait before asking again: never past the moment when the job is due."""
    next_run_at = times.read(job.get("next_run_at"))
    if next_run_at is None:
        return _BUSY_SECONDS
    wait = max(_BUSY_SECONDS, min(_IDLE_SECONDS, (next_run_at - now).total_seconds()))
    if give_up_at is not None:
        wait = min(wait, max(0.05, (give_up_at - now).total_seconds()))
    return wait


@contextmanager
def _view(out: Output) -> Iterator[Callable[[Answer, list[Answer]], None]]:
    """For people a page that is redrawn in place and stays; for machines a line whenever something changed."""
    if not out.json:
        with Live(console=out.console, auto_refresh=False) as live:
            yield lambda job, attempts: live.update(views.job(job, utc_now(), attempts), refresh=True)
        return
    told: list[Answer] = []

    def line(job: Answer, attempts: list[Answer]) -> None:
        if told != (latest := [{**job, "executions": attempts}]):
            told[:] = latest
            out.line(latest[0])

    yield line
