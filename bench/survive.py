"""Nothing lost: due jobs in plenty, and everything that can crash crashes while they are delivered."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.faults import PlannedFault, plan
from bench.receiver import Delivery, Receiver
from bench.stack import StackProcess, own_stack
from bench.survival import Duplicate, Fault, Survival, doubled, duplicate, recovered_after
from cli.client import ApiClient
from cli.exits import CommandError, ExitCode
from dev.postgres import PostgresServer
from dev.redis import RedisServer
from scheduler_core.clock import monotonic
from scheduler_core.domain.lifecycle import TERMINAL

_BATCH: Final = 1_000
_POLL_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 15.0
"""The next fault comes after so long even where deliveries stand still: crashes do not wait for one another."""
_ECHO_NS: Final = 250_000_000
"""Deliveries so shortly after a fault were on their way before it."""

type Progress = Callable[[int, int, str | None], None]
"""Told `(jobs, jobs delivered, the fault that has just struck)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivePlan:
    """5,000 due jobs, unless told otherwise."""

    jobs: int = 5_000
    receiver_delay_ms: float = 2_000.0
    """So slow that the run lasts long enough for every crash to hit deliveries under way."""
    patience_seconds: float = 300.0
    """How long the jobs may take to end after the last fault."""
    environment: Mapping[str, str] | None = None
    """Settings for the stack, such as shorter leases."""


@dataclass(frozen=True, slots=True)
class _Site:
    """Everything that takes part in a run."""

    stack: StackProcess
    postgres: PostgresServer
    redis: RedisServer
    receiver: Receiver
    api: ApiClient


def survive(plan_: SurvivePlan, progress: Progress) -> Survival:
    """Run it all in a folder that is gone afterwards. Raises CommandError where the stack does not start."""
    with _site(plan_) as site:
        began = monotonic()
        job_ids = _post(site, plan_.jobs)
        struck = _strike(site, plan(site.stack, site.postgres, site.redis), plan_, progress)
        _wait_until_ended(site, plan_, progress)
        took = monotonic() - began
        time.sleep(0.5)  # a duplicate would come now
        return _verdict(site, job_ids, struck, took)


@contextmanager
def _site(plan_: SurvivePlan) -> Iterator[_Site]:
    with tempfile.TemporaryDirectory(prefix="task-scheduler-survive-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        postgres, redis = PostgresServer(folder / "servers"), RedisServer(folder / "servers")
        try:
            postgres.start()
            redis.start()
            stores = {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url}
            with (
                own_stack(folder / "stack", {**(plan_.environment or {}), **stores}) as stack,
                Receiver(delay_ms=plan_.receiver_delay_ms) as receiver,
                ApiClient(stack.address) as api,
            ):
                yield _Site(stack, postgres, redis, receiver, api)
        finally:
            redis.stop()
            postgres.stop()


def _post(site: _Site, jobs: int) -> set[str]:
    """Ask for jobs that are due at once."""
    job = {"target": {"type": "http", "url": site.receiver.url}, "payload": {"survive": True}, "max_retries": 0}
    made: set[str] = set()
    while len(made) < jobs:
        batch = {"jobs": [job] * min(_BATCH, jobs - len(made))}
        made |= {each["id"] for each in site.api.call("POST", "/jobs/batch", body=batch)["items"]}
    return made


def _strike(
    site: _Site, faults: Sequence[PlannedFault], plan_: SurvivePlan, progress: Progress
) -> list[tuple[str, int]]:
    """Let every fault strike in its turn; answers what and when, in nanoseconds since 1970."""
    struck = []
    for fault in faults:
        deadline = monotonic() + _PATIENCE_SECONDS
        while (arrived := site.receiver.count()[1]) < fault.at_share * plan_.jobs and monotonic() < deadline:
            progress(plan_.jobs, arrived, None)
            time.sleep(_POLL_SECONDS)
        at_ns = time.time_ns()
        fault.strike()
        struck.append((fault.what, at_ns))
        progress(plan_.jobs, arrived, fault.what)
    return struck


def _wait_until_ended(site: _Site, plan_: SurvivePlan, progress: Progress) -> None:
    deadline = monotonic() + plan_.patience_seconds
    while monotonic() < deadline:
        progress(plan_.jobs, site.receiver.count()[1], None)
        try:
            counts = site.api.get("/stats")["counts"]
        except CommandError as error:
            if error.code is not ExitCode.UNAVAILABLE:
                raise
        else:
            if sum(counts.get(status, 0) for status in TERMINAL) >= plan_.jobs:
                return
        time.sleep(_POLL_SECONDS * 5)


def _verdict(site: _Site, job_ids: set[str], struck: Sequence[tuple[str, int]], took: float) -> Survival:
    deliveries = [each for each in site.receiver.records() if each.job_id in job_ids]
    with ThreadPoolExecutor(max_workers=4) as threads:
        twice = list(threads.map(lambda each: _explain(site.api, *each), doubled(deliveries).items()))
    return Survival(
        jobs=len(job_ids),
        by_status=_statuses(site.api, job_ids),
        never_delivered=len(job_ids - {each.job_id for each in deliveries}),
        deliveries=len(deliveries),
        duplicates=len(deliveries) - len({each.job_id for each in deliveries}),
        unexplained_duplicates=sum(not each.explained for each in twice),
        faults=[_fault(what, at_ns, deliveries) for what, at_ns in struck],
        took_seconds=round(took, 3),
    )


def _fault(what: str, at_ns: int, deliveries: Sequence[Delivery]) -> Fault:
    return Fault(what=what, at_ns=at_ns, recovered_after_seconds=recovered_after(at_ns, deliveries, _ECHO_NS))


def _explain(api: ApiClient, job_id: str, attempts: tuple[int, ...]) -> Duplicate:
    ended: list[dict[str, Any]] = api.listing(f"/jobs/{job_id}/executions", most=200)["items"]
    return duplicate(job_id, attempts, {each["attempt"]: each["outcome"] for each in ended})


def _statuses(api: ApiClient, job_ids: set[str]) -> dict[str, int]:
    """How many of the jobs are in each status, job by job, as the API lists them; `unknown` are not there at all."""
    found: dict[str, str] = {}
    listed = api.listing("/jobs", most=10 * len(job_ids))["items"]
    found = {each["id"]: each["status"] for each in listed if each["id"] in job_ids}
    counts = {status: list(found.values()).count(status) for status in sorted(set(found.values()))}
    return counts | ({"unknown": missing} if (missing := len(job_ids) - len(found)) else {})
