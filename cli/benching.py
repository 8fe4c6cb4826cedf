"""Runs the benchmarks with a progress bar on stderr, so that stdout keeps the verdict alone."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.artifacts import BuildError, build, host_architecture
from bench.cold_start import ColdStart
from bench.cold_start import measure as measure_cold_starts
from bench.footprint import Footprint, weigh
from bench.precision import Plan, Precision, measure
from bench.stack import own_stack
from bench.survival import Survival
from bench.survive import SurvivePlan, survive
from cli.client import ApiAddress, ApiClient
from cli.command import ApiSession
from cli.connection import DEFAULT_URL, running_stack
from cli.exits import CommandError, ExitCode
from cli.output import Output, stderr
from cli.termination import sigterm_interrupts


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


def footprint_of(out: Output, architecture: str) -> Footprint:
    """What is deployed to `architecture`, built for the purpose and weighed."""
    with _bars(out) as bars, tempfile.TemporaryDirectory(prefix="task-scheduler-footprint-") as folder:
        weighed = bars.add_task("building", total=None)
        with _built():
            artifacts = build(Path(folder), architecture)
        return weigh(
            artifacts,
            with_imports=architecture == host_architecture(),
            progress=lambda what: bars.update(weighed, description=f"weighing {what}"),
        )


def cold_starts(out: Output, functions: Sequence[str], samples: int) -> list[ColdStart]:
    """The functions' cold starts, one function after the other."""
    with _bars(out) as bars, sigterm_interrupts(), _built():
        started = bars.add_task("building", total=len(functions) * samples)
        done = 0

        def progress(what: str, taken: int) -> None:
            bars.update(started, completed=done + taken, description=what)

        found = []
        for each in measure_cold_starts(functions, samples, progress):
            found.append(each)
            done += samples
        return found


@contextmanager
def _built() -> Iterator[None]:
    try:
        yield
    except BuildError as error:
        raise CommandError(ExitCode.FAILED, "Layer and functions were not built.", str(error)) from error


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
