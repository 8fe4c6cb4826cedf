"""Runs the limits: each in a process of its own, on our own tables, with the same care as a contender."""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from bench import stock
from bench.limits import NEEDS_JOBS
from bench.site import Site
from scheduler_core.clock import utc_now

OF_WORKLOAD: Final[Mapping[str, tuple[str, ...]]] = {
    "drain": ("update",),
    "deliver": ("posts", "recorded_posts", "claimed_posts"),
    "enqueue": ("insert", "copy", "redis_script"),
}
"""Which limits are measured beside a workload, in the same rounds."""


def measure(site: Site, name: str, jobs: int) -> Mapping[str, float]:
    """The figures of one limit. Raises RuntimeError with what it said."""
    url = site.postgres.url
    stock.clear(url)
    if name in NEEDS_JOBS:
        merchants = stock.make_merchants(url, 20)
        later = utc_now() + timedelta(hours=1)
        stock.store(url, merchants, jobs, target_url=site.receiver.url, first_due=later)
    stock.settle(url)
    options = {"database_url": url, "redis_url": site.redis.url, "receiver": site.receiver.url, "jobs": jobs}
    command = [sys.executable, "-m", "bench.limits", name, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode != 0:
        raise RuntimeError(f"the limit {name} failed:\n{done.stderr[-2_000:]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
