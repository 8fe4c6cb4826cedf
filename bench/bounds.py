"""What a short run must show: ratios to limits of the same run, never absolute times, so that a slow machine passes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.results import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """`figure` of ours over `of_limit`'s is at least `least`; `inverse`: the limit's over ours, for times.

    `limit` None: the limit was measured beside ours, by the same contender.
    """

    workload: str
    figure: str
    limit: str | None
    of_limit: str
    least: float
    inverse: bool = False
    promise: str

    def value(self, results: Results) -> float | None:
        """The ratio; None: one of the two was not measured."""
        ours = ("ours", self.figure)
        limit = ("ours" if self.limit is None else f"limit: {self.limit}", self.of_limit)
        return results.ratio(self.workload, *((limit, ours) if self.inverse else (ours, limit)))


BOUNDS: Final[Sequence[Bound]] = (
    Bound(
        workload="drain", figure="per_second", limit="update", of_limit="per_second", least=0.28,
        promise="drained, against one UPDATE for 500 rows",
    ),
    Bound(
        workload="deliver", figure="per_second", limit="recorded_posts", of_limit="per_second", least=0.2,
        promise="delivered, against a bare libcurl loop with one UPDATE for 500 rows",
    ),
    Bound(
        workload="deliver", figure="per_second", limit="claimed_posts", of_limit="per_second", least=0.35,
        promise="delivered, against a bare libcurl loop with two UPDATEs for 500 rows",
    ),
    Bound(
        workload="enqueue", figure="bulk_per_second", limit="copy", of_limit="per_second", least=0.35,
        promise="taken in a thousand at a time, against COPY",
    ),
    Bound(
        workload="enqueue", figure="one_p50_ms", limit=None, of_limit="bare_p50_ms", least=0.4, inverse=True,
        promise="time of one INSERT and one Redis call, against that of one POST /jobs",
    ),
)  # fmt: skip
"""About half of what a quiet machine shows: below that something has gone badly wrong."""


def broken(results: Results, bounds: Sequence[Bound] = BOUNDS) -> list[str]:
    """What is below its bound, in words. A ratio that was not measured counts: nothing was checked."""
    found = []
    for bound in bounds:
        value = bound.value(results)
        if value is None:
            found.append(f"{bound.promise}: not measured")
        elif value < bound.least:
            found.append(f"{bound.promise}: {value:.2f}, less than {bound.least:g}")
    return found
