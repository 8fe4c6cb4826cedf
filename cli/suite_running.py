"""Runs the benchmark suite with its progress on stderr; an interrupted run keeps what it has measured."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import suite
from bench.contenders import LostJobsError, Measurement
from bench.results import Results
from bench.site import site
from bench.suite import Scope, Step, Suite
from cli.exits import CommandError, ExitCode
from cli.output import Output, stderr
from cli.termination import sigterm_interrupts
from dev.processes import ServerError
from scheduler_core.clock import monotonic, utc_now

_SHOWN = ("per_second", "one_per_second", "bulk_per_second", "p50_ms", "p99_ms", "due_scan_ms", "claim_ms",
          "drain_per_second", "beside_per_second", "statements_per_minute")  # fmt: skip


def measured(out: Output, scope: Scope, file: Path, *, anew: bool = False) -> Results:
    """Everything in `scope`; `file` has what was measured after every step. Raises CommandError.

    What the file has of the same machine and versions stays, unless it is measured again or `anew`.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Once a second: a benchmark should not measure its own drawing.
    bars = Progress(*columns, console=stderr(), disable=out.json, refresh_per_second=1)
    try:
        with sigterm_interrupts(), bars, tempfile.TemporaryDirectory(prefix="task-scheduler-bench-") as folder:
            return _measured(scope, file, Path(folder), bars, anew=anew)
    except (ServerError, RuntimeError, LostJobsError) as error:
        raise CommandError(ExitCode.FAILED, "The benchmark failed.", str(error)) from error


def _measured(scope: Scope, file: Path, folder: Path, bars: Progress, *, anew: bool) -> Results:
    task = bars.add_task("starting", total=None)
    suite.make_peers_ready(scope.peers, lambda text: bars.update(task, description=text))
    with site(folder) as place:
        began_at = monotonic()
        results = suite.new_results(place, command_of(sys.argv[1:]), utc_now().isoformat(timespec="seconds"))
        if not anew and (before := _stored(file)) is not None and not results.continues(before):
            aside = file.with_suffix(f".{before.began_at.replace(':', '')}.json")
            file.rename(aside)
            bars.console.print(f"{file} is of another machine or other versions: it is {aside} now", markup=False)

        def began(step: Step, number: int, steps: int) -> None:
            bars.update(task, description=step.title, completed=number, total=steps)

        def ended(measurement: Measurement) -> None:
            results.took_seconds = monotonic() - began_at
            results.save(file)
            bars.console.print(_line(measurement))

        Suite(place, scope).run(results, began, ended)
        for failure in results.failures:
            bars.console.print(f"failed: {failure}", markup=False)
        results.save(file)
        return results


def _stored(file: Path) -> Results | None:
    try:
        return Results.load(file)
    except (FileNotFoundError, ValueError):
        return None


def _line(measurement: Measurement) -> str:
    figures = ", ".join(f"{name} {measurement.figures[name]:,.1f}" for name in _SHOWN if name in measurement.figures)
    many = f" x{measurement.executors}" if measurement.executors > 1 else ""
    return f"{measurement.workload} {measurement.round}: {measurement.contender}{many}: {figures}"


def command_of(arguments: Sequence[str]) -> str:
    """The command as a reader would repeat it: without where this machine keeps the results."""
    told: list[str] = []
    rest = iter(arguments)
    for each in rest:
        if each == "--results":
            next(rest, None)
        elif each != "--json" and not each.startswith("--results="):
            told.append(each)
    return " ".join(["scheduler", *told])
