"""We as a contender: the real functions against a real backlog."""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import psycopg

from bench import resources, stock
from bench.contenders import LostJobsError
from bench.deployment import Deployment
from bench.lateness import late_figures
from bench.site import Site
from scheduler_core.clock import monotonic, utc_now
from scheduler_core.domain.ids import from_milliseconds, milliseconds_up

MERCHANTS: Final = 20
_POLL_SECONDS: Final = (0.005, 0.25)
"""How soon PostgreSQL is asked again how far it is, at least and at most: the end is wanted exactly, but to ask takes
from what is measured."""
_WARM_JOBS: Final = 6_000
"""For each executor: more than one is given before another is asked for, so all of them work."""
_WARM_ROUNDS: Final = 5
_EXECUTORS_NAME: Final = "task-scheduler executor"
_SESSIONS_EACH: Final = 2
"""Who claims and who records; one executor has a third for filling the ready set."""
_PATIENCE_SECONDS: Final = 120.0
_LEAD_SECONDS: Final = 3.0


def deployed(site: Site, *, executors: int = 1, noop: bool = False, ticking: bool = False) -> Deployment:
    """As in production."""
    return Deployment(site.stores, executors=executors, noop=noop, ticking=ticking)


class Ours:
    """The populator is invoked and everything else follows from it.

    `keeps_jobs`: a run leaves alone what is stored, else it begins with empty tables.
    """

    name = "ours"

    def __init__(self, site: Site, *, keeps_jobs: bool = False) -> None:
        self._site = site
        self._keeps_jobs = keeps_jobs
        self._merchants = stock.make_merchants(site.postgres.url, MERCHANTS)
        self.begin_to_count()

    def jobs_for(self, workload: str, jobs: int) -> int:  # noqa: ARG002 - we do not need to be spared
        return jobs

    def drain(self, jobs: int, executors: int) -> Mapping[str, float]:
        with self._deployed(executors, noop=True) as deployment:
            return self._emptied(deployment, jobs)

    def deliver(self, jobs: int, executors: int) -> Mapping[str, float]:
        with self._deployed(executors, noop=False) as deployment:
            self._site.receiver.mark()
            figures = self._emptied(deployment, jobs)
            came = {each.job_id for each in self._site.receiver.arrivals()}
        if len(came) != jobs:
            raise LostJobsError(f"{jobs - len(came)} of {jobs} jobs never reached the receiver")
        return figures

    def precision(self, jobs: int, rate: float) -> Mapping[str, float]:
        """All are stored before the first is due; the tick of the populator is ours to give."""
        with self._deployed(1, noop=False) as deployment:
            self._site.receiver.mark()
            self._reset()
            first = whole_millisecond(utc_now() + timedelta(seconds=_LEAD_SECONDS + jobs / 50_000))
            self._store(jobs, first, timedelta(seconds=1) / rate)
            stock.settle(self._site.postgres.url)
            deployment.invoke("populator", {})
            last = first + jobs * timedelta(seconds=1) / rate
            while self._site.receiver.count() < jobs:
                if utc_now() > last + timedelta(seconds=30):
                    raise LostJobsError(f"{jobs - self._site.receiver.count()} of {jobs} jobs never came")
                time.sleep(0.2)
            due = self._due_times()
            return late_figures(due, [(each.job_id, each.moment) for each in self._site.receiver.arrivals()])

    def enqueue(self, jobs: int) -> Mapping[str, float]:
        from bench.enqueueing import enqueue

        return enqueue(self._site, jobs)

    # Parts -----------------------------------------------------------------------------------------------------------

    def _deployed(self, executors: int, *, noop: bool) -> "_Warmed":
        return _Warmed(self, deployed(self._site, executors=executors, noop=noop), executors)

    def _emptied(self, deployment: Deployment, jobs: int) -> Mapping[str, float]:
        self._reset()
        self._store(jobs, utc_now())
        stock.settle(self._site.postgres.url)
        before = resources.database_counters(self._site.postgres.url)
        with psycopg.connect(self._site.postgres.url, autocommit=True) as connection:
            began = monotonic()
            deployment.invoke("populator", {})
            populated = monotonic() - began
            took = self._wait(connection, jobs) - began
        memory = max((resources.peak_memory(pid) for pid in deployment.pids("executor")), default=0)
        deployment.wait_until_idle("executor")
        url = self._site.postgres.url
        wal = resources.database_counters(url).since(before).wal_bytes
        resources.end_idle_sessions(url, _EXECUTORS_NAME)
        written = resources.database_counters(url).since(self._at_first)
        return {
            "per_second": jobs / took,
            "populate_seconds": populated,
            "executor_peak_bytes": memory,
            "wal_bytes_per_job": wal / jobs,
            "row_versions_per_job": written.row_versions / self._stored - 1,  # without the one that stored it
            "hot_share": written.hot_updates / max(1, written.updates),
        }

    def begin_to_count(self) -> None:
        """What is written from now on, by warming up too: sessions that stay open tell of it ten seconds late."""
        self._stored, self._at_first = 0, resources.database_counters(self._site.postgres.url)

    def warm_up(self, deployment: Deployment, executors: int) -> None:
        """Every process is there, each executor has worked and keeps its connections, and all of them sleep again."""
        deployment.warm("populator", "watcher", "executor")
        with psycopg.connect(self._site.postgres.url, autocommit=True) as connection:
            for _ in range(_WARM_ROUNDS):
                self._reset()
                self._store(_WARM_JOBS * executors, utc_now())
                due = _due(connection)
                deployment.invoke("populator", {})
                self._wait(connection, due)
                deployment.wait_until_idle("executor")
                if _sessions_of_executors(connection) >= _SESSIONS_EACH * executors:
                    break
        # A watcher that is still on guard would wake an executor for what is stored next, before the clock starts.
        deployment.wait_until_idle("executor", "watcher")

    def _reset(self) -> None:
        if self._keeps_jobs:
            stock.clear_rates(self._site.postgres.url)
        else:
            stock.clear(self._site.postgres.url)
        self._site.flush_redis()

    def _store(self, jobs: int, first_due: datetime, apart: timedelta = timedelta()) -> None:
        url = self._site.postgres.url
        self._stored += jobs
        stock.store(url, self._merchants, jobs, target_url=self._site.receiver.url, first_due=first_due, apart=apart)

    def _wait(self, connection: psycopg.Connection, jobs: int) -> float:
        """Until as many have ended, which the minutes' rates know without counting jobs; answers when that was.

        What may be left is counted after that moment, for it takes reading whatever is stored.
        """
        began = monotonic()
        while (done := _ended(connection)) < jobs:
            passed = monotonic() - began
            if passed > _PATIENCE_SECONDS:
                raise LostJobsError(f"{jobs - done} of {jobs} jobs have not ended")
            time.sleep(_until_half_of_the_rest(passed, done / jobs))
        ended = monotonic()
        if left := _due(connection) + _running(connection):
            raise LostJobsError(f"{done} attempts of {jobs} jobs have ended, and {left} still wait or run")
        return ended

    def _due_times(self) -> dict[str, float]:
        with psycopg.connect(self._site.postgres.url) as connection:
            rows = connection.execute("SELECT id, scheduled_at FROM jobs").fetchall()
        return {str(row[0]): row[1].timestamp() for row in rows}

    @property
    def merchants(self) -> list[UUID]:
        return self._merchants


class _Warmed:
    """A deployment that has run everything once before it is measured."""

    def __init__(self, ours: Ours, deployment: Deployment, executors: int) -> None:
        self._ours, self._deployment, self._executors = ours, deployment, executors

    def __enter__(self) -> Deployment:
        deployment = self._deployment.__enter__()
        try:
            self._ours.begin_to_count()
            self._ours.warm_up(deployment, self._executors)
        except BaseException:
            self._deployment.__exit__(None, None, None)
            raise
        return deployment

    def __exit__(self, *how: object) -> None:
        self._deployment.__exit__(None, None, None)


def whole_millisecond(moment: datetime) -> datetime:
    """As far as the receiver's clock goes; the next, where `moment` lies between two."""
    return from_milliseconds(milliseconds_up(moment))


def _until_half_of_the_rest(passed: float, share: float) -> float:
    """In seconds, at the pace until now, when `share` took `passed`."""
    shortest, longest = _POLL_SECONDS
    return min(longest, max(shortest, passed / share * (1 - share) / 2)) if share else shortest


def _ended(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT coalesce(sum(completed + failed), 0) FROM throughput").fetchone()
    return int(row[0]) if row else 0


def _sessions_of_executors(connection: psycopg.Connection) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    row = connection.execute(query, (_EXECUTORS_NAME,)).fetchone()
    return int(row[0]) if row else 0


def _due(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM jobs WHERE next_run_at <= %s", (utc_now(),)).fetchone()
    return int(row[0]) if row else 0


def _running(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM jobs WHERE status = 'running'").fetchone()
    return int(row[0]) if row else 0
