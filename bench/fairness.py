"""One merchant has very much due; twenty others then ask for one job each. How long do those wait, and who pays?"""

import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import psycopg

from bench import stock
from bench.contenders import LostJobsError
from bench.deployment import Deployment
from bench.enqueueing import authorized_event
from bench.lateness import late_figures
from bench.ours import Ours, deployed
from bench.site import Site
from scheduler_core.clock import monotonic, utc_now

SMALL: Final = 20
_BEGIN_AT_SHARE: Final = 0.2
_END_AT_SHARE: Final = 0.8
_PATIENCE_SECONDS: Final = 180.0
_FAR_SECONDS: Final = 80
"""Due so late, the job that warms the API goes through the ready set and wakes no executor."""


class Fairness:
    """Alternates: the large merchant alone, then with the twenty beside it. All deliver to the receiver.

    Every function has run once before, the API too: what its first request costs is measured by `bench cold`.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ours = Ours(site)
        self._merchants = stock.make_merchants(site.postgres.url, SMALL + 1)

    def measure(self, jobs: int) -> Mapping[str, float]:
        """`alone_per_second` and `beside_per_second` of the large one, the small ones' lateness in milliseconds."""
        alone, _ = self._run(jobs, with_others=False)
        beside, late = self._run(jobs, with_others=True)
        return {"alone_per_second": alone, "beside_per_second": beside, "lost_share": 1 - beside / alone, **late}

    def _run(self, jobs: int, *, with_others: bool) -> tuple[float, Mapping[str, float]]:
        site = self._site
        with deployed(site) as deployment:
            self._ours.warm_up(deployment, 1)
            self._post(deployment, self._merchants[0], {"delay_seconds": _FAR_SECONDS})
            site.receiver.mark()
            stock.clear(site.postgres.url)
            site.flush_redis()
            stock.store(site.postgres.url, self._merchants[:1], jobs, target_url=site.receiver.url, first_due=utc_now())
            stock.settle(site.postgres.url)
            began = monotonic()
            deployment.invoke("populator", {})
            others = self._post_beside(deployment, jobs) if with_others else 0
            self._wait(jobs + others)
            took = monotonic() - began
            deployment.wait_until_idle("executor")
            return jobs / took, self._lateness() if with_others else {}

    def _post_beside(self, deployment: Deployment, jobs: int) -> int:
        """One job for each of the twenty, spread over the middle of the run."""
        for number, merchant in enumerate(self._merchants[1:]):
            share = _BEGIN_AT_SHARE + (_END_AT_SHARE - _BEGIN_AT_SHARE) * number / SMALL
            while self._site.receiver.count() < share * jobs:
                time.sleep(0.01)
            self._post(deployment, merchant, {"payload": {"small": number}})
        return SMALL

    def _post(self, deployment: Deployment, merchant: UUID, more: Mapping[str, Any]) -> None:
        body = {"target": {"type": "http", "url": self._site.receiver.url}, **more}
        answer: Any = deployment.invoke("api", authorized_event("/jobs", body, str(merchant)))
        if answer["statusCode"] != 201:
            raise LostJobsError(f"the API answered {answer}")

    def _wait(self, jobs: int) -> None:
        deadline = monotonic() + _PATIENCE_SECONDS
        while (came := self._site.receiver.count()) < jobs:
            if monotonic() > deadline:
                raise LostJobsError(f"{jobs - came} of {jobs} jobs never came")
            time.sleep(0.02)

    def _lateness(self) -> Mapping[str, float]:
        """Since each job was stored: it was due at once."""
        with psycopg.connect(self._site.postgres.url) as connection:
            rows = connection.execute(
                "SELECT id, created_at FROM jobs WHERE merchant_id = ANY(%s)", (self._merchants[1:],)
            ).fetchall()
        due = {str(job_id): created.timestamp() for job_id, created in rows}
        return late_figures(due, [(each.job_id, each.moment) for each in self._site.receiver.arrivals()])
