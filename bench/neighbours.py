"""How late do a few merchants' jobs come beside what others ask for? Seven loads, which no other workload has.

Each keeps the ready set full, or falls due all at once, and none of it is the fault of those who wait.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg

from bench import stock
from bench.contenders import LostJobsError
from bench.deployment import Deployment
from bench.enqueueing import authorized_event
from bench.lateness import late_figures
from bench.ours import Ours, deployed, whole_millisecond
from bench.site import Site
from cli.times import rfc3339
from scheduler_core.clock import monotonic, utc_now

QUIET: Final = 20
_BATCH: Final = 1_000
_FEW: Final = 100
"""So many jobs the quiet ask for beside a load, at `_EVERY`, each for in `_SOON`."""
_EVERY: Final = timedelta(seconds=0.05)
_SOON: Final = timedelta(seconds=5)
_BEFORE_INSTANT: Final = timedelta(seconds=4)
_AFTER_INSTANT: Final = timedelta(seconds=0.2)
_BATCHES_PER_SECOND: Final = 10
_PATIENCE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """How large they are. A ready set has room for 60,000 jobs (READY_SET_MAX)."""

    limited_jobs: int = 65_000
    limited_per_second: int = 20
    instant_jobs: int = 30_000
    crowd: int = 3_000
    """Merchants with one job each, or with templates."""
    templates: int = 20_000
    failing_jobs: int = 30_000
    posted_per_second: int = 1_500
    posted_ahead: timedelta = timedelta(seconds=60)
    posted_for: timedelta = timedelta(seconds=90)

    @property
    def posted_jobs(self) -> int:
        """In the time for which they are posted, in batches of a tenth of a second."""
        return self.posted_per_second // _BATCHES_PER_SECOND * self.batches

    @property
    def batches(self) -> int:
        return int(self.posted_for.total_seconds() * _BATCHES_PER_SECOND)


class Neighbours:
    """Each load answers the lateness of the quiet merchants' jobs in milliseconds: `p50_ms`, `p99_ms`, `max_ms`, ..."""

    def __init__(self, site: Site, loads: Loads) -> None:
        self._site = site
        self._loads = loads
        self._ours = Ours(site)
        self._loud, *self._quiet = stock.make_merchants(site.postgres.url, QUIET + 1)

    def alone(self) -> Mapping[str, float]:
        """Nobody else has anything."""
        with self._ready() as deployment:
            return self._few_posted(deployment)

    def limited(self) -> Mapping[str, float]:
        """A merchant whose rate is limited has asked for far more than that, for now."""
        with self._ready(limit=self._loads.limited_per_second) as deployment:
            for start in range(0, self._loads.limited_jobs, _BATCH):
                self._post(deployment, self._loud, utc_now(), min(_BATCH, self._loads.limited_jobs - start))
            return self._few_posted(deployment)

    def instant(self) -> Mapping[str, float]:
        """A merchant's many jobs and one of each quiet merchant fall due at once; another of each a moment later."""
        with self._ready() as deployment:
            self._at_once(deployment, [self._loud], self._loads.instant_jobs)
            return self._lateness(self._quiet, 2 * QUIET)

    def crowded(self) -> Mapping[str, float]:
        """As `instant`, but of many merchants with one job each. `own_...` is the lateness of theirs."""
        crowd = self._crowd()
        with self._ready() as deployment:
            self._at_once(deployment, crowd, len(crowd))
            return _with_own(self._lateness(self._quiet, 2 * QUIET), self._lateness(crowd, len(crowd)))

    def midnight(self) -> Mapping[str, float]:
        """As `crowded`, but of templates' runs, several of each merchant. `runs_per_second`: how fast they are made."""
        crowd, templates = self._crowd(), self._loads.templates
        site, url = self._site, self._site.postgres.url
        with self._ready() as deployment:
            due = (utc_now() + _BEFORE_INSTANT + timedelta(seconds=1 + templates / 4_000)).replace(microsecond=0)
            stock.store_templates(url, crowd, templates, target_url=site.receiver.url, daily_at=due)
            self._store_quiet(due)
            began = monotonic()
            answer: Any = deployment.invoke("recurrence", {})
            took = monotonic() - began
            if answer["runs"] != templates:
                raise LostJobsError(f"recurrence answered {answer}")
            deployment.invoke("populator", {})
            late = _with_own(self._lateness(self._quiet, 2 * QUIET), self._lateness(crowd, templates))
            return {**late, "runs_per_second": templates / took}

    def failing(self) -> Mapping[str, float]:
        """A merchant's many jobs, due at once, whose target answers 503: each is tried four times within seconds."""
        with self._ready() as deployment:
            url, receiver = self._site.postgres.url, self._site.receiver
            jobs = self._loads.failing_jobs
            stock.store(url, [self._loud], jobs, target_url=receiver.busy_url, first_due=utc_now())
            stock.settle(url)
            deployment.invoke("populator", {})
            return self._few_posted(deployment)

    def posted_ahead(self) -> Mapping[str, float]:
        """A merchant asks for jobs on and on, each for in a minute, until those that wait are more than a set holds.

        The quiet ask for theirs in between, for in a minute too. `own_...` is the lateness of the merchant's own.
        """
        loads = self._loads
        with self._ready(ticking=True) as deployment:
            for number in _paced(loads.batches, timedelta(seconds=1) / _BATCHES_PER_SECOND):
                due = utc_now() + loads.posted_ahead
                self._post(deployment, self._loud, due, loads.posted_jobs // loads.batches)
                self._post(deployment, self._quiet[number % QUIET], due, 1)
            quiet = self._lateness(self._quiet, loads.batches)
            return _with_own(quiet, self._lateness([self._loud], loads.posted_jobs))

    # Parts -----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _ready(self, *, limit: int | None = None, ticking: bool = False) -> Iterator[Deployment]:
        """Everything has run once, nothing is stored; `limit` is the loud merchant's rate for as long as this lasts."""
        url = self._site.postgres.url
        stock.limit(url, self._loud, limit)
        try:
            with deployed(self._site, ticking=ticking) as deployment:
                self._ours.warm_up(deployment, 1)
                self._post(deployment, self._loud, utc_now() + timedelta(hours=1), 1)
                stock.clear(url)
                self._site.flush_redis()
                stock.settle(url)
                self._site.receiver.mark()
                yield deployment
        finally:
            stock.limit(url, self._loud, None)

    def _crowd(self) -> list[UUID]:
        others = {self._loud, *self._quiet}
        made = stock.make_merchants(self._site.postgres.url, len(others) + self._loads.crowd)
        return [merchant for merchant in made if merchant not in others]

    def _at_once(self, deployment: Deployment, merchants: Sequence[UUID], jobs: int) -> None:
        """`jobs` of `merchants`, taking turns, and one of each quiet one fall due at once; later another of each."""
        site, url = self._site, self._site.postgres.url
        due = whole_millisecond(utc_now() + _BEFORE_INSTANT + timedelta(seconds=jobs / 50_000))
        stock.store(url, merchants, jobs, target_url=site.receiver.url, first_due=due)
        self._store_quiet(due)
        deployment.invoke("populator", {})

    def _store_quiet(self, due: datetime) -> None:
        """One job of each for then, and one for a little later; nothing else is stored after that."""
        url = self._site.postgres.url
        for moment in (due, due + _AFTER_INSTANT):
            stock.store(url, self._quiet, QUIET, target_url=self._site.receiver.url, first_due=moment)
        stock.settle(url)

    def _few_posted(self, deployment: Deployment) -> Mapping[str, float]:
        for number in _paced(_FEW, _EVERY):
            self._post(deployment, self._quiet[number % QUIET], utc_now() + _SOON, 1)
        return self._lateness(self._quiet, _FEW)

    def _post(self, deployment: Deployment, merchant: UUID, due: datetime, jobs: int) -> None:
        body = {"target": {"type": "http", "url": self._site.receiver.url}, "scheduled_at": rfc3339(due)}
        answer: Any = deployment.invoke("api", authorized_event("/jobs/batch", {"jobs": [body] * jobs}, str(merchant)))
        if answer["statusCode"] not in {200, 201}:
            raise LostJobsError(f"the API answered {answer}")

    def _lateness(self, merchants: Sequence[UUID], jobs: int) -> Mapping[str, float]:
        """Of all their jobs, once they have come."""
        with psycopg.connect(self._site.postgres.url, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT id, scheduled_at FROM jobs WHERE merchant_id = ANY(%s)", (list(merchants),)
            ).fetchall()
            if len(rows) != jobs:
                raise LostJobsError(f"{len(rows)} jobs are stored of {jobs}")
            last = max(due for _, due in rows)
            time.sleep(max(0.0, (last - utc_now()).total_seconds()))
            while left := _left(connection, merchants):
                if (utc_now() - last).total_seconds() > _PATIENCE_SECONDS:
                    raise LostJobsError(f"{left} of {jobs} jobs never came")
                time.sleep(_POLL_SECONDS)
        due_times = {str(job_id): due.timestamp() for job_id, due in rows}
        return late_figures(due_times, [(each.job_id, each.moment) for each in self._site.receiver.arrivals()])


class Load(NamedTuple):
    """What the quiet are beside: how many jobs of others, and how it is measured."""

    jobs: Callable[[Loads], int]
    measure: Callable[[Neighbours], Mapping[str, float]]


LOADS: Final[Mapping[str, Load]] = {
    "nothing": Load(lambda _: 0, Neighbours.alone),
    "a limited merchant's backlog": Load(lambda loads: loads.limited_jobs, Neighbours.limited),
    "many due at one instant": Load(lambda loads: loads.instant_jobs, Neighbours.instant),
    "many merchants at one instant": Load(lambda loads: loads.crowd, Neighbours.crowded),
    "templates at one instant": Load(lambda loads: loads.templates, Neighbours.midnight),
    "a target that fails": Load(lambda loads: loads.failing_jobs, Neighbours.failing),
    "many asked for ahead": Load(lambda loads: loads.posted_jobs, Neighbours.posted_ahead),
}
ONCE: Final = frozenset({"many asked for ahead"})
"""It takes minutes, and judges many jobs."""


def _with_own(quiet: Mapping[str, float], own: Mapping[str, float]) -> Mapping[str, float]:
    return {**quiet, **{f"own_{name}": value for name, value in own.items()}}


def _left(connection: psycopg.Connection, merchants: Sequence[UUID]) -> int:
    row = connection.execute(
        "SELECT count(*) FROM jobs WHERE merchant_id = ANY(%s) AND status <> 'completed'", (list(merchants),)
    ).fetchone()
    return int(row[0]) if row else 0


def _paced(count: int, apart: timedelta) -> Iterator[int]:
    """Numbers from 0, each at its turn, or at once if its turn has passed."""
    began = utc_now()
    for number in range(count):
        time.sleep(max(0.0, (began + number * apart - utc_now()).total_seconds()))
        yield number
