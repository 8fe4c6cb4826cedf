"""What a contender can be asked to do, and what a measurement of it looks like."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One run of one workload by one contender. `figures` are named numbers: rates per second, milliseconds, bytes."""

    workload: str
    contender: str
    round: int = 1
    executors: int = 1
    jobs: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)
    run: str = ""
    """When the run began that this belongs to: only figures of one run are put in relation round by round."""
    ended_at: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What is measured again and again: the rounds of a figure share it."""
        return self.workload, self.contender, self.executors

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Measurement":
        return cls(**stored)


class Contender(Protocol):
    """We, or a peer. All rates are jobs per second; a run that loses a job raises."""

    name: str

    def jobs_for(self, workload: str, jobs: int) -> int:
        """How many of `jobs` this contender is given, so that a slow one does not take for ever."""
        ...

    def drain(self, jobs: int, executors: int) -> Mapping[str, float]:
        """`per_second`: no-op jobs that are due, until the last is recorded as done."""
        ...

    def deliver(self, jobs: int, executors: int) -> Mapping[str, float]:
        """`per_second`: jobs that are due, each a POST of 300 bytes, until the last is recorded as done."""
        ...

    def precision(self, jobs: int, rate: float) -> Mapping[str, float]:
        """`p50_ms`, `p99_ms`, `p999_ms`, `max_ms` of jobs due `rate` a second, by the receiver's clock."""
        ...

    def enqueue(self, jobs: int) -> Mapping[str, float]:
        """`one_per_second`: asked for one after the other; `bulk_per_second`: in the largest batches offered."""
        ...


class LostJobsError(Exception):
    """A run did not end: jobs are missing after all patience."""
