"""What the receiver's clock says about a run. Pure: numbers in, a verdict out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from bench.receiver import Delivery
from scheduler_core.domain.ids import milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """Lateness in milliseconds: arrival minus `scheduled_at`, of each job's first delivery."""

    jobs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    early: int
    """Deliveries before their time: there must be none."""
    duplicates: int
    missing: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(scheduled: Mapping[str, datetime], deliveries: Sequence[Delivery]) -> Lateness:
    """The verdict on a run: `scheduled` is what was asked for, by job id. Deliveries of other jobs are left out."""
    arrived: dict[str, int] = {}
    seen: Counter[str] = Counter()
    for each in deliveries:
        if each.job_id in scheduled:
            seen[each.job_id] += 1
            arrived[each.job_id] = min(each.arrived_ns, arrived.get(each.job_id, each.arrived_ns))
    late = sorted(late_ms(scheduled[job_id], arrived_ns) for job_id, arrived_ns in arrived.items())
    return Lateness(
        jobs=len(scheduled),
        p50_ms=percentile(late, 0.5),
        p90_ms=percentile(late, 0.9),
        p99_ms=percentile(late, 0.99),
        p999_ms=percentile(late, 0.999),
        max_ms=percentile(late, 1.0),
        early=sum(each < 0 for each in late),
        duplicates=sum(count - 1 for count in seen.values()),
        missing=len(scheduled) - len(arrived),
    )


def late_ms(scheduled_at: datetime, arrived_ns: int) -> float:
    """How late, in milliseconds to the microsecond; negative is early. `scheduled_at` is in whole milliseconds."""
    return round((arrived_ns - milliseconds(scheduled_at) * 1_000_000) / 1_000_000, 3)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank); 0.0 of nothing."""
    if not ordered:
        return 0.0
    rank = max(1, -(-len(ordered) * round(share * 1_000) // 1_000))
    return ordered[min(rank, len(ordered)) - 1]


def late_figures(due: Mapping[str, float], arrivals: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Lateness of each job's first arrival, in milliseconds; `due` and `arrivals` are seconds since 1970, by job id.

    `missing` are jobs that never came, `early` those that came more than a millisecond (the receiver's step) too soon.
    """
    first: dict[str, float] = {}
    for job_id, moment in arrivals:
        if job_id in due:
            first[job_id] = min(moment, first.get(job_id, moment))
    late = sorted(round((moment - due[job_id]) * 1_000, 3) for job_id, moment in first.items())
    return {
        "p50_ms": percentile(late, 0.5),
        "p99_ms": percentile(late, 0.99),
        "p999_ms": percentile(late, 0.999),
        "max_ms": percentile(late, 1.0),
        "missing": float(len(due) - len(first)),
        "early": float(sum(each < -1.0 for each in late)),
    }
