"""The whole benchmark: who runs what, in which order.

Contenders take turns in each round, so that the machine's drift hits all alike.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from bench import fairness, idle, machine, neighbours, scale, yardsticks
from bench.contenders import Contender, LostJobsError, Measurement
from bench.ours import Ours
from bench.peers import installing
from bench.peers.peer import Manifest, Peer, PeerFailedError
from bench.results import Results
from bench.site import Site
from scheduler_core.clock import utc_now

WORKLOADS: Final = ("drain", "deliver", "precision", "enqueue", "scale", "fairness", "neighbours", "idle")
WITH_PEERS: Final = ("drain", "deliver", "precision", "enqueue")
_PEERS_FASTEST_PACE: Final = 500.0
_SLOW_PER_SECOND: Final = 5_000.0
"""A peer that drains less runs once: its distance is larger than any spread, and its rounds would take long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """How much is measured. The defaults take a little more than half an hour on two cores."""

    workloads: Sequence[str] = WORKLOADS
    peers: Sequence[str] = ()
    rounds: int = 3
    executors: Sequence[int] = (1, 2)
    drain_jobs: int = 60_000
    deliver_jobs: int = 40_000
    enqueue_jobs: int = 20_000
    paces: Sequence[tuple[float, int]] = ((50.0, 1_000), (500.0, 10_000), (2_000.0, 20_000))
    """Jobs per second, and how many of them. The last is beyond most peers: only we run it."""
    pending: Sequence[int] = (100_000, 1_000_000, 5_000_000)
    fairness_jobs: int = 100_000
    loads: neighbours.Loads = field(default_factory=neighbours.Loads)
    idle_seconds: int = 120


QUICK: Final = Scope(
    workloads=("drain", "deliver", "enqueue"),
    rounds=1,
    executors=(1,),
    drain_jobs=15_000,
    deliver_jobs=10_000,
    enqueue_jobs=8_000,
)
"""For CI: long enough to tell a gross regression from noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One measurement to make."""

    workload: str
    contender: str
    round: int
    executors: int
    jobs: int
    run: Callable[[], Mapping[str, float]]

    @property
    def title(self) -> str:
        beside = "beside " if self.contender.startswith("limit") else ""
        many = f", {beside}{self.executors} executors" if self.executors > 1 else ""
        return f"{self.workload} {self.round}: {self.contender}{many}"


class Suite:
    """Makes every step of a scope, one after the other."""

    def __init__(self, site: Site, scope: Scope) -> None:
        self._site = site
        self._scope = scope
        self._ours = Ours(site)
        self._peers = [Peer(name, site) for name in scope.peers]
        self._scale: scale.Scale | None = None

    def run(
        self, results: Results, began: Callable[[Step, int, int], None], ended: Callable[[Measurement], None]
    ) -> None:
        """Add to `results` as it goes; a peer that fails is noted and does not take part again, we are not spared."""
        steps = list(self.steps())
        out: set[str] = set()
        for number, step in enumerate(steps):
            if step.contender in out:
                continue
            began(step, number, len(steps))
            results.failures = [each for each in results.failures if not each.startswith(f"{step.title}: ")]
            try:
                figures = step.run()
            except (PeerFailedError, LostJobsError) as error:
                if step.contender not in {peer.name for peer in self._peers}:
                    raise
                out.add(step.contender)
                results.failures.append(f"{step.title}: {error}")
                continue
            measured = Measurement(
                workload=step.workload,
                contender=step.contender,
                round=step.round,
                executors=step.executors,
                jobs=step.jobs,
                figures=figures,
                run=results.began_at,
                ended_at=utc_now().isoformat(timespec="seconds"),
            )
            self._note_versions(results)
            results.add(measured)
            ended(measured)

    def steps(self) -> Iterator[Step]:
        """In order: a workload after the other, and in each a round after the other."""
        makers = {
            "drain": self._drain,
            "deliver": self._deliver,
            "precision": self._precision,
            "enqueue": self._enqueue,
            "scale": self._scale_steps,
            "fairness": self._fairness,
            "neighbours": self._neighbours,
            "idle": self._idle,
        }
        for workload in self._scope.workloads:
            yield from makers[workload]()

    def _note_versions(self, results: Results) -> None:
        for peer in self._peers:
            if peer.versions:
                results.note_versions(peer.name, peer.versions)

    # Workloads -------------------------------------------------------------------------------------------------------

    def _drain(self) -> Iterator[Step]:
        return self._throughput("drain", self._scope.drain_jobs, lambda who: who.drain)

    def _deliver(self) -> Iterator[Step]:
        return self._throughput("deliver", self._scope.deliver_jobs, lambda who: who.deliver)

    def _throughput(
        self, workload: str, jobs: int, work_of: Callable[[Contender], Callable[[int, int], Mapping[str, float]]]
    ) -> Iterator[Step]:
        for round_ in self._rounds:
            for executors in self._scope.executors:
                yield from self._limits(workload, round_, jobs, executors)  # right before ours, for speed drifts
                for who in self._in(round_):
                    count = who.jobs_for(workload, jobs)
                    yield Step(
                        workload=workload,
                        contender=who.name,
                        round=round_,
                        executors=executors,
                        jobs=count,
                        run=partial(work_of(who), count, executors),
                    )

    def _enqueue(self) -> Iterator[Step]:
        jobs = self._scope.enqueue_jobs
        for round_ in self._rounds:
            yield from self._limits("enqueue", round_, jobs)
            for who in self._in(round_):
                count = who.jobs_for("enqueue", jobs)
                yield _step("enqueue", who.name, round_, count, partial(who.enqueue, count))

    def _precision(self) -> Iterator[Step]:
        for rate, jobs in self._scope.paces:
            for round_ in self._rounds:
                for who in self._everyone:
                    if who is not self._ours and (rate > _PEERS_FASTEST_PACE or round_ > 1):
                        continue  # once is enough for a peer: it takes long, and many jobs are judged in each
                    yield _step(
                        f"precision at {rate:g}/s",
                        who.name,
                        round_,
                        jobs,
                        partial(who.precision, jobs, rate),
                    )

    def _scale_steps(self) -> Iterator[Step]:
        for pending in self._scope.pending:
            yield _step("scale", f"{pending:,} pending", 1, pending, partial(self._scaled, pending))

    def _scaled(self, pending: int) -> Mapping[str, float]:
        if self._scale is None:
            self._scale = scale.Scale(self._site)
        return self._scale.measure(pending, self._scope.drain_jobs)

    def _fairness(self) -> Iterator[Step]:
        jobs = self._scope.fairness_jobs
        for round_ in self._rounds:
            yield _step("fairness", self._ours.name, round_, jobs, lambda: fairness.Fairness(self._site).measure(jobs))

    def _neighbours(self) -> Iterator[Step]:
        for round_ in self._rounds:
            for name, load in neighbours.LOADS.items():
                if round_ == 1 or name not in neighbours.ONCE:
                    jobs = load.jobs(self._scope.loads)
                    yield _step("neighbours", name, round_, jobs, partial(self._beside, load))

    def _beside(self, load: neighbours.Load) -> Mapping[str, float]:
        return load.measure(neighbours.Neighbours(self._site, self._scope.loads))

    def _idle(self) -> Iterator[Step]:
        yield _step("idle", self._ours.name, 1, 0, lambda: idle.measure(self._site, self._scope.idle_seconds))

    def _limits(self, workload: str, round_: int, jobs: int, executors: int = 1) -> Iterator[Step]:
        """The limits that so many executors are compared with."""
        for name in yardsticks.OF_WORKLOAD[workload]:
            run = partial(yardsticks.measure, self._site, name, jobs)
            yield _step(workload, f"limit: {name}", round_, jobs, run, executors)

    @property
    def _rounds(self) -> range:
        return range(1, self._scope.rounds + 1)

    @property
    def _everyone(self) -> list[Contender]:
        return [self._ours, *self._peers]

    def _in(self, round_: int) -> list[Contender]:
        return [who for who in self._everyone if round_ == 1 or who is self._ours or not runs_once(who.name)]


def runs_once(peer: str) -> bool:
    """Whether a peer takes part in the first round only."""
    return Manifest.of(peer).about_per_second["drain"] < _SLOW_PER_SECOND


def _step(
    workload: str,
    contender: str,
    round_: int,
    jobs: int,
    run: Callable[[], Mapping[str, float]],
    executors: int = 1,
) -> Step:
    return Step(workload=workload, contender=contender, round=round_, executors=executors, jobs=jobs, run=run)


def new_results(site: Site, command: str, began_at: str) -> Results:
    """Nothing measured yet."""
    results = Results(began_at=began_at, command=command, machine=machine.facts(), revision=machine.revision())
    results.versions["servers"] = site.versions()
    results.versions["ours"] = machine.our_versions()
    return results


def make_peers_ready(names: Sequence[str], told: Callable[[str], None]) -> None:
    """Install what is not installed. Raises ServerError."""
    for name in names:
        if not installing.installed(name):
            told(f"installing {name} in .tools/peers/{name}")
            installing.install(name)
