"""What became of every job of a run with crashes. Pure: what the receiver saw and what the API says, into a verdict."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.receiver import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that was broken on purpose."""

    what: str
    at_ns: int
    """When, in nanoseconds since 1970."""
    recovered_after_seconds: float | None
    """How long until deliveries came again; None: none came any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A job that was delivered more than once. Explained: each delivery was another attempt, the earlier ones lost."""

    job_id: str
    attempts_delivered: tuple[int, ...]
    outcomes: tuple[str, ...]
    explained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """The verdict of a run."""

    jobs: int
    by_status: Mapping[str, int]
    never_delivered: int
    """Jobs that the receiver has not seen once."""
    deliveries: int
    duplicates: int
    """Deliveries beyond the first of each job."""
    unexplained_duplicates: int
    faults: Sequence[Fault]
    took_seconds: float
    """From the first job posted until the last one had ended."""

    @property
    def passed(self) -> bool:
        """Nothing lost, and nothing doubled but by a crash."""
        all_completed = self.by_status.get("completed", 0) == self.jobs
        return all_completed and self.never_delivered == 0 and self.unexplained_duplicates == 0

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}


def doubled(deliveries: Sequence[Delivery]) -> dict[str, tuple[int, ...]]:
    """The attempts that were delivered, in order of arrival, of each job with more than one delivery."""
    attempts: defaultdict[str, list[int]] = defaultdict(list)
    for each in deliveries:
        attempts[each.job_id].append(each.attempt)
    return {job_id: tuple(seen) for job_id, seen in attempts.items() if len(seen) > 1}


def duplicate(job_id: str, attempts: tuple[int, ...], outcomes: Mapping[int, str]) -> Duplicate:
    """Judge one job that came more than once; `outcomes` is how its attempts ended, by their numbers."""
    repeated = max(Counter(attempts).values()) > 1
    lost_before = all(outcomes.get(number) == "lost" for number in sorted(set(attempts))[:-1])
    return Duplicate(
        job_id=job_id,
        attempts_delivered=attempts,
        outcomes=tuple(outcomes[number] for number in sorted(outcomes)),
        explained=lost_before and not repeated,
    )


def recovered_after(at_ns: int, deliveries: Sequence[Delivery], settle_ns: int) -> float | None:
    """Seconds from a fault to the first delivery at least `settle_ns` later, which is no echo of before it."""
    after = [each.arrived_ns for each in deliveries if each.arrived_ns >= at_ns + settle_ns]
    return None if not after else round((min(after) - at_ns) / 1e9, 3)
