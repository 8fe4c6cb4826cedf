"""`scheduler bench`: shows that what is promised is kept."""

from typing import Annotated, Any, Final

import typer

from cli import views
from cli.command import ApiSession, PlainSession, api_command, plain_command
from cli.commands import bench_suite, deployed
from cli.exits import CommandError, ExitCode

app: Final = typer.Typer(
    help="Show how exact deliveries are, that nothing is lost, and how fast it all is.", no_args_is_help=True
)
bench_suite.register(app)
deployed.register(app)

Bound = typer.Option(metavar="MS", min=0, help="Exit code 1 above this.")


@api_command(app, "precision")
def precision(
    api: ApiSession,
    jobs: Annotated[int, typer.Option(min=1, help="How many.")] = 1_000,
    rate: Annotated[float, typer.Option(min=0.1, help="How many to ask for per second.")] = 50.0,
    lead: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="The shortest time until due.")] = 3.0,
    longest_lead: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="The longest time until due.")] = 25.0,
    max_p50_ms: Annotated[float, Bound] = 10.0,
    max_p99_ms: Annotated[float, Bound] = 50.0,
) -> None:
    """Ask for one-shot jobs at a steady rate and measure how late they come, by the receiver's clock.

    The running stack is used; where none runs, one is started for the time of the run.
    """
    from bench.precision import Plan
    from cli.benching import measured

    plan = Plan(jobs=jobs, rate=rate, lead_seconds=lead, longest_lead_seconds=max(lead, longest_lead))
    verdict = measured(api, plan)
    api.out.show(verdict.as_json(), _precision)
    late = verdict.lateness
    broken = [
        f"{name} is {value} ms, more than {bound} ms"
        for name, value, bound in (("p50", late.p50_ms, max_p50_ms), ("p99", late.p99_ms, max_p99_ms))
        if value > bound
    ]
    if late.missing or late.early:
        broken.append(f"{late.missing} missing, {late.early} early")
    if broken:
        raise CommandError(ExitCode.FAILED, "The benchmark failed.", "; ".join(broken))


@plain_command(app, "survive")
def survive(
    session: PlainSession,
    jobs: Annotated[int, typer.Option(min=10, help="How many, all due at once.")] = 5_000,
    receiver_delay: Annotated[
        float, typer.Option(min=0, metavar="MS", help="How long the receiver takes for each delivery.")
    ] = 2_000.0,
) -> None:
    """Crash everything while due jobs are delivered, and count what is lost: nothing may be.

    A stack of its own; the executor is killed three times, Redis flushed twice and restarted, PostgreSQL restarted.
    """
    from bench.survive import SurvivePlan
    from cli.benching import survived

    verdict = survived(session.out, SurvivePlan(jobs=jobs, receiver_delay_ms=receiver_delay))
    session.out.show(verdict.as_json(), _survival)
    if not verdict.passed:
        raise CommandError(ExitCode.FAILED, "The benchmark failed.", "jobs were lost, or doubled without a crash")


def _precision(answer: dict[str, Any]) -> Any:
    rows = [(label, f"{answer[name]:,.1f} ms") for label, name in _LATENESS.items()]
    counts = [(name, str(answer[name])) for name in ("jobs", "early", "duplicates", "missing")]
    return views.facts([*rows, *counts, ("asked late by", f"{answer['posting_lag_ms']:,.1f} ms at most")])


_LATENESS: Final = {
    "late p50": "p50_ms",
    "late p90": "p90_ms",
    "late p99": "p99_ms",
    "late p99.9": "p999_ms",
    "late max": "max_ms",
}


def _survival(answer: dict[str, Any]) -> Any:
    statuses = ", ".join(f"{count:,} {status}" for status, count in answer["by_status"].items())
    faults = [
        (each["what"], f"deliveries again after {each['recovered_after_seconds']} s")
        for each in answer["faults"]
        if each["recovered_after_seconds"] is not None
    ]
    return views.facts(
        [
            ("jobs", f"{answer['jobs']:,}: {statuses}"),
            ("never delivered", str(answer["never_delivered"])),
            ("duplicates", f"{answer['duplicates']}, of which {answer['unexplained_duplicates']} without a crash"),
            *faults,
            ("all ended after", f"{answer['took_seconds']:.1f} s"),
            ("verdict", "nothing lost" if answer["passed"] else "FAILED"),
        ]
    )
