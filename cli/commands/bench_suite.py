"""`scheduler bench drain`, `deliver`, ... `all`: how fast we are, beside the machine's limits and beside our peers."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType

from cli import views
from cli.command import PlainSession, plain_command
from cli.exits import CommandError, ExitCode

RESULTS: Final = Path(".data/bench/latest.json")
QUICK_RESULTS: Final = Path(".data/bench/quick.json")
"""Short runs are no figures to publish: they stay out of the others' file."""

Rounds = Annotated[int, typer.Option(min=1, help="Rounds; a figure is their median.")]
Executors = Annotated[str, typer.Option(help="How many executors, or workers of a peer: `1`, or `1,2` for both.")]
Peers = Annotated[list[str] | None, typer.Option("--peer", metavar="NAME", help="Beside this peer; may be repeated.")]
AllPeers = Annotated[bool, typer.Option("--peers", help="Beside all peers.")]
Jobs = Annotated[int, typer.Option(min=100, help="How many jobs; a slow peer gets fewer.")]
Keep = Annotated[Path, typer.Option("--results", help="Where the results go, as JSON, beside what is there.")]


def register(app: typer.Typer) -> None:
    """Declare them all."""
    plain_command(app, "drain")(drain)
    plain_command(app, "deliver")(deliver)
    plain_command(app, "enqueue")(enqueue)
    plain_command(app, "scale")(scale)
    plain_command(app, "fairness")(fairness)
    plain_command(app, "neighbours")(neighbours)
    plain_command(app, "idle")(idle)
    plain_command(app, "all")(everything)
    plain_command(app, "report")(report)


def drain(
    session: PlainSession,
    jobs: Jobs = 60_000,
    rounds: Rounds = 3,
    executors: Executors = "1,2",
    peer: Peers = None,
    peers: AllPeers = False,
    results: Keep = RESULTS,
) -> None:
    """No-op jobs that are due, from the populator's start to the last outcome stored."""
    scope = {"workloads": ("drain",), "drain_jobs": jobs, "rounds": rounds, "executors": _numbers(executors)}
    _run(session, scope, peer, all_peers=peers, results=results)


def deliver(
    session: PlainSession,
    jobs: Jobs = 40_000,
    rounds: Rounds = 3,
    executors: Executors = "1,2",
    peer: Peers = None,
    peers: AllPeers = False,
    results: Keep = RESULTS,
) -> None:
    """The same, each job a POST of 300 bytes to an nginx."""
    scope = {"workloads": ("deliver",), "deliver_jobs": jobs, "rounds": rounds, "executors": _numbers(executors)}
    _run(session, scope, peer, all_peers=peers, results=results)


def enqueue(
    session: PlainSession,
    jobs: Jobs = 20_000,
    rounds: Rounds = 3,
    peer: Peers = None,
    peers: AllPeers = False,
    results: Keep = RESULTS,
) -> None:
    """Jobs through the API's handler, one and a thousand at a time, and through the local gateway."""
    scope = {"workloads": ("enqueue",), "enqueue_jobs": jobs, "rounds": rounds}
    _run(session, scope, peer, all_peers=peers, results=results)


def scale(
    session: PlainSession,
    pending: Annotated[str, typer.Option(help="How many jobs wait beside what is due, growing.")] = (
        "100000,1000000,5000000"
    ),
    jobs: Jobs = 60_000,
    results: Keep = RESULTS,
) -> None:
    """The due scan, a claim and a drain beside more and more jobs that wait. 5,000,000 need 6 GB of disk."""
    scope = {"workloads": ("scale",), "pending": tuple(sorted(_numbers(pending))), "drain_jobs": jobs}
    _run(session, scope, None, all_peers=False, results=results)


def fairness(
    session: PlainSession,
    jobs: Jobs = 100_000,
    rounds: Rounds = 3,
    results: Keep = RESULTS,
) -> None:
    """One merchant has very much due, then twenty others ask for one job each."""
    scope = {"workloads": ("fairness",), "fairness_jobs": jobs, "rounds": rounds}
    _run(session, scope, None, all_peers=False, results=results)


def neighbours(
    session: PlainSession,
    rounds: Rounds = 3,
    results: Keep = RESULTS,
) -> None:
    """How late a few merchants' jobs come beside a backlog that may not move, a crowd, a full ready set."""
    _run(session, {"workloads": ("neighbours",), "rounds": rounds}, None, all_peers=False, results=results)


def idle(
    session: PlainSession,
    seconds: Annotated[int, typer.Option(min=5, help="How long, after a minute of starting.")] = 120,
    results: Keep = RESULTS,
) -> None:
    """Statements, commands and processor time for each minute in which nothing is due."""
    _run(session, {"workloads": ("idle",), "idle_seconds": seconds}, None, all_peers=False, results=results)


def everything(
    session: PlainSession,
    only: Annotated[
        str | None,
        typer.Option(help="Some workloads: `drain,deliver,precision,enqueue,scale,fairness,neighbours,idle`."),
    ] = None,
    rounds: Rounds = 3,
    peer: Peers = None,
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="Beside all peers.")] = True,
    quick: Annotated[
        bool, typer.Option("--quick", help="A minute and a half: we and the limits; exit code 1 below the bounds.")
    ] = False,
    results: Keep = RESULTS,
    write_report: Annotated[bool, typer.Option("--report", help="Then write docs/benchmarks.md.")] = False,
) -> None:
    """Every workload beside every peer, about 40 minutes; installs the peers in `.tools/peers` first."""
    from bench.bounds import broken

    scope: dict[str, Any] = {"rounds": rounds}
    if only:
        scope["workloads"] = tuple(each.strip() for each in only.split(","))
    if quick and results == RESULTS:
        results = QUICK_RESULTS
    measured = _run(session, scope, peer, all_peers=peers and not peer and not quick, results=results, quick=quick)
    if write_report:
        _report(session, results)
    if quick and (found := broken(measured)):
        raise CommandError(ExitCode.FAILED, "The benchmark failed.", "; ".join(found))


def report(
    session: PlainSession,
    results: Annotated[Path, typer.Argument(help="A run's results.")] = RESULTS,
    docs: Annotated[Path, typer.Option(help="The folder of benchmarks.md.")] = Path("docs"),
) -> None:
    """Write `docs/benchmarks.md` and its charts from a run's results."""
    _report(session, results, docs)


def _report(session: PlainSession, file: Path, docs: Path = Path("docs")) -> None:
    from bench.report import write
    from bench.results import Results

    if not file.exists():
        raise CommandError(ExitCode.FAILED, "There are no results.", f"{file} is not there: run `scheduler bench all`")
    for each in write(Results.load(file), docs):
        session.out.remark(f"written: {each}")


def _run(
    session: PlainSession,
    scope: dict[str, Any],
    named: list[str] | None,
    *,
    all_peers: bool,
    results: Path,
    quick: bool = False,
) -> Any:
    from bench.peers import installing
    from bench.suite import QUICK, WORKLOADS, Scope
    from cli.suite_running import measured

    known = installing.names()
    chosen = known if all_peers else list(named or [])
    if unknown := [name for name in chosen if name not in known]:
        raise CommandError(ExitCode.USAGE, f"There is no peer {unknown[0]}.", f"there are {', '.join(known)}")
    if unknown := [name for name in scope.get("workloads", ()) if name not in WORKLOADS]:
        raise CommandError(ExitCode.USAGE, f"There is no workload {unknown[0]}.", f"there are {', '.join(WORKLOADS)}")
    base = QUICK if quick else Scope()
    wanted = {name: value for name, value in scope.items() if not (quick and name == "rounds")}
    full = dataclasses.replace(base, **wanted, peers=tuple(chosen))
    found = measured(session.out, full, results, anew=quick)
    session.out.show(found.as_json(), _view)
    return found


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(each.replace("_", "")) for each in text.split(","))
    except ValueError as error:
        raise CommandError(ExitCode.USAGE, f"{text} is no list of numbers.", "for example 1,2") from error


def _view(answer: dict[str, Any]) -> RenderableType:
    from bench.contenders import Measurement
    from bench.results import median_of

    measurements = [Measurement.from_json(each) for each in answer["measurements"]]
    table = views.grid("WORKLOAD", "WHO", "EXECUTORS", "FIGURE", "MEDIAN")
    for key in dict.fromkeys((each.workload, each.contender, each.executors) for each in measurements):
        group = [each for each in measurements if (each.workload, each.contender, each.executors) == key]
        for name in group[0].figures:
            value = median_of(group, name) or 0.0
            table.add_row(key[0], key[1], str(key[2]), name, f"{value:,.2f}" if value < 100 else f"{value:,.0f}")
    return table
