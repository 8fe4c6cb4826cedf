"""How exact are deliveries? Jobs asked for at a steady rate, each due seconds ahead; the receiver's clock judges."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from bench.lateness import Lateness, judge
from bench.posting import post_at_rate
from bench.receiver import Receiver
from cli.client import ApiClient
from cli.exits import CommandError
from cli.times import rfc3339
from scheduler_core.clock import utc_now

_GOLDEN: Final = 0.6180339887498949
"""Steps of the golden ratio spread due times evenly without clumps, and the same in each run."""
_POLL_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """1,000 jobs at 50/s, due 3-25 s ahead, unless told otherwise."""

    jobs: int = 1_000
    rate: float = 50.0
    lead_seconds: float = 3.0
    longest_lead_seconds: float = 25.0
    patience_seconds: float = 30.0
    """How long after the last due time a delivery may still come before it counts as missing."""

    def lead_of(self, number: int) -> timedelta:
        """How far ahead job `number` is due."""
        share = number * _GOLDEN % 1.0
        return timedelta(seconds=self.lead_seconds + share * (self.longest_lead_seconds - self.lead_seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """The verdict, and whether the benchmark itself kept up."""

    lateness: Lateness
    posting_lag_ms: float

    def as_json(self) -> dict[str, Any]:
        return {**self.lateness.as_json(), "posting_lag_ms": self.posting_lag_ms}


def measure(api: ApiClient, plan: Plan, progress: Callable[[int, int], None]) -> Precision:
    """Run `plan` against the stack behind `api`; `progress(posted, arrived)` is called as it goes.

    Whatever happens, no job of the run is left behind waiting.
    """
    scheduled: dict[str, datetime] = {}
    with Receiver() as receiver:
        try:
            lag = post_at_rate(
                api,
                lambda number, now: _body(receiver.url, number, now + plan.lead_of(number)),
                scheduled,
                jobs=plan.jobs,
                rate=plan.rate,
                posted=lambda: progress(len(scheduled), 0),
            )
            _wait(receiver, scheduled, plan, progress)
        finally:
            deliveries = receiver.records()
            _cancel(api, set(scheduled) - {each.job_id for each in deliveries})
    return Precision(lateness=judge(scheduled, deliveries), posting_lag_ms=round(lag * 1_000, 3))


def _body(url: str, number: int, due: datetime) -> dict[str, Any]:
    return {
        "target": {"type": "http", "url": url},
        "payload": {"number": number},
        "scheduled_at": rfc3339(due),
        "reference_id": "bench-precision",
        "max_retries": 0,
    }


def _wait(receiver: Receiver, scheduled: dict[str, datetime], plan: Plan, progress: Callable[[int, int], None]) -> None:
    give_up_at = max(scheduled.values()) + timedelta(seconds=plan.patience_seconds)
    while (arrived := receiver.count()[1]) < len(scheduled) and utc_now() < give_up_at:
        progress(len(scheduled), arrived)
        time.sleep(_POLL_SECONDS)
    progress(len(scheduled), arrived)
    time.sleep(_POLL_SECONDS)  # a duplicate would come now


def _cancel(api: ApiClient, job_ids: set[str]) -> None:
    for job_id in job_ids:
        try:
            api.call("DELETE", f"/jobs/{job_id}", accepted=frozenset({404, 409}))
        except CommandError:
            return  # the service is gone, and with it the reason to tidy up
