"""What was measured: kept as JSON, asked for medians and ratios. Pure but for reading and writing the file.

A file may hold the figures of several runs: a later run replaces what it measures again and leaves the rest.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.contenders import Measurement

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Where figures come from; `revision` is the commit that was measured."""

    began_at: str
    command: str
    revision: str = ""
    took_seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Results:
    """One run, as far as it has come, and what earlier runs have left."""

    began_at: str
    command: str
    machine: Mapping[str, str] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of the servers under `servers`, and of each contender under its name."""
    measurements: list[Measurement] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    took_seconds: float = 0.0
    revision: str = ""
    earlier: list[Run] = field(default_factory=list)

    @property
    def runs(self) -> list[Run]:
        """The runs that figures are left of, the oldest first; this one always."""
        own = Run(began_at=self.began_at, command=self.command, revision=self.revision, took_seconds=self.took_seconds)
        left = {each.run for each in self.measurements}
        return [each for each in self.earlier if each.began_at in left] + [own]

    def continues(self, before: "Results") -> bool:
        """Take over what `before` has measured, if it was on such a machine with such versions; answers whether."""
        same = ("servers", "ours")
        alike = self.machine == before.machine and all(
            self.versions.get(each) == before.versions.get(each) for each in same
        )
        if alike:
            self.measurements = [*before.measurements, *self.measurements]
            self.failures = [*before.failures, *self.failures]
            self.versions = {**before.versions, **self.versions}
            self.earlier = before.runs
        return alike

    def add(self, measurement: Measurement) -> None:
        """A figure of this run; what earlier runs have measured of the same is forgotten, so no median mixes runs."""
        self.measurements = [
            each for each in self.measurements if each.key != measurement.key or each.run == measurement.run
        ]
        self.measurements.append(measurement)

    def note_versions(self, contender: str, versions: dict[str, str]) -> None:
        """What a contender is. Figures that earlier runs have of other versions of it are forgotten."""
        if self.versions.get(contender, versions) != versions:
            self.measurements = [
                each for each in self.measurements if each.contender != contender or each.run == self.began_at
            ]
        self.versions[contender] = versions

    def save(self, file: Path) -> None:
        """Write it; a reader never sees half a file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        written = file.with_suffix(".new")
        written.write_text(json.dumps(self.as_json(), indent=1) + "\n", encoding="utf-8")
        written.rename(file)

    def as_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "began_at": self.began_at,
            "command": self.command,
            "took_seconds": self.took_seconds,
            "revision": self.revision,
            "earlier": [asdict(each) for each in self.runs[:-1]],
            "machine": dict(self.machine),
            "versions": self.versions,
            "failures": self.failures,
            "measurements": [each.as_json() for each in self.measurements],
        }

    @classmethod
    def load(cls, file: Path) -> "Results":
        """Raises ValueError for a file of another version."""
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored.pop("version", None) != VERSION:
            raise ValueError(f"{file} is no result of this version of the benchmark")
        stored["measurements"] = [Measurement.from_json(each) for each in stored["measurements"]]
        stored["earlier"] = [Run(**each) for each in stored.get("earlier", ())]
        return cls(**stored)

    def of(self, workload: str, contender: str | None = None, executors: int | None = None) -> list[Measurement]:
        """The measurements that match, in the order in which they were made."""
        return [
            each
            for each in self.measurements
            if each.workload == workload and contender in (None, each.contender) and executors in (None, each.executors)
        ]

    def contenders(self, workload: str) -> list[str]:
        """Who took part, in order of appearance."""
        return list(dict.fromkeys(each.contender for each in self.of(workload)))

    def figure(self, workload: str, contender: str, name: str, executors: int = 1) -> float | None:
        """The median of a figure over the rounds; None: it was not measured."""
        return median_of(self.of(workload, contender, executors), name)

    def ratio(self, workload: str, ours: tuple[str, str], theirs: tuple[str, str], executors: int = 1) -> float | None:
        """Median over the rounds of (contender, figure) over another one's, round by round: drift cancels out.

        The other's with as many executors, if there is such, else whatever there is: limits know no executors.
        """
        beside = self.of(workload, theirs[0], executors) or self.of(workload, theirs[0])
        return ratio_of(self.of(workload, ours[0], executors), ours[1], beside, theirs[1])


def median_of(measured: Iterable[Measurement], name: str) -> float | None:
    """The median of a figure; None where nobody has it."""
    values = [each.figures[name] for each in measured if name in each.figures]
    return median(values) if values else None


def spread_of(measured: Iterable[Measurement], name: str) -> tuple[float, float] | None:
    """The smallest and the largest of a figure."""
    values = [each.figures[name] for each in measured if name in each.figures]
    return (min(values), max(values)) if values else None


def ratio_of(measured: Sequence[Measurement], figure: str, beside: Sequence[Measurement], other: str) -> float | None:
    """The median of the ratios of rounds that both have; None where there is none."""
    by_round = {(each.run, each.round): each.figures[other] for each in beside if each.figures.get(other)}
    ratios = [
        each.figures[figure] / by_round[each.run, each.round]
        for each in measured
        if figure in each.figures and (each.run, each.round) in by_round
    ]
    return median(ratios) if ratios else None
