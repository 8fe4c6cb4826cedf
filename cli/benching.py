"""Runs the benchmarks with a progress bar on stderr, so that stdout keeps the verdict alone."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.precision import Plan, Precision, measure
from bench.stack import own_stack
from bench.survival import Survival
from bench.survive import SurvivePlan, survive
from cli.client import ApiAddress, ApiClient
from cli.command import ApiSession
from cli.connection import DEFAULT_URL, running_stack
from cli.output import Output, stderr


def measured(api: ApiSession, plan: Plan) -> Precision:
    """The precision of the stack behind `api`, or of one made for the run where none was named and none runs."""
    with _stack_for(api) as address, ApiClient(address) as client, _bars(api.out) as bars:
        asked, arrived = bars.add_task("asked for", total=plan.jobs), bars.add_task("arrived", total=plan.jobs)

        def progress(posted: int, came: int) -> None:
            bars.update(asked, completed=posted)
            bars.update(arrived, completed=came)

        return measure(client, plan, progress)


def survived(out: Output, plan: SurvivePlan) -> Survival:
    """The verdict on a run full of crashes."""
    with _bars(out) as bars:
        arrived = bars.add_task("starting", total=plan.jobs)

        def progress(_: int, came: int, fault: str | None) -> None:
            bars.update(arrived, completed=came, description="delivered")
            if fault is not None:
                bars.console.print(f"{came:>6,} delivered: {fault}")

        return survive(plan, progress)


@contextmanager
def _stack_for(api: ApiSession) -> Iterator[ApiAddress]:
    if api.address.key is not None or api.address.url != DEFAULT_URL or running_stack() is not None:
        yield api.address
        return
    api.out.remark("no stack is running: starting one for this run")
    with tempfile.TemporaryDirectory(prefix="task-scheduler-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with own_stack(Path(folder)) as stack:
            yield stack.address


def _bars(out: Output) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Twice a second: a benchmark should not measure its own drawing.
    return Progress(*columns, console=stderr(), disable=out.json, refresh_per_second=2)
