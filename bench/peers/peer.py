"""A peer as a contender: its driver answers commands over a pipe, its workers run as they would in production.

For drain and deliver the workers are started first and warmed by a few jobs, stopped in their tracks (SIGSTOP) while
the jobs are put into the queue, and the clock starts when they go on: nobody's start-up is measured.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from bench import stock
from bench.contenders import LostJobsError
from bench.lateness import late_figures
from bench.peers import installing
from bench.site import Site
from dev import processes
from scheduler_core.clock import monotonic

_SECONDS_EACH: Final = 3.0
"""How long a run of a slow peer may take, about: it gets fewer jobs than we do."""
_LEAST_JOBS: Final = 200
_WARM_JOBS: Final = 50
_END_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 120.0
_SHARED: Final = installing.SOURCES / "shared"
_REDIS_DATABASE: Final = 1


class PeerFailedError(Exception):
    """A peer's program did not do what it was asked; the message has the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `peer.json` says: how the peer is set up, and about how fast it is."""

    title: str
    language: str
    store: str
    settings: str
    durability: str
    keeps_jobs: bool
    """Whether a job that is done is still stored, as it is with us."""
    starts_own_processes: bool
    about_per_second: Mapping[str, float]

    @classmethod
    def of(cls, name: str) -> "Manifest":
        return cls(**json.loads((installing.SOURCES / name / "peer.json").read_text(encoding="utf-8")))


class Peer:
    """One of `installing.names()`, whose environment has been made."""

    def __init__(self, name: str, site: Site) -> None:
        self.name = name
        self.manifest = Manifest.of(name)
        self.versions: dict[str, str] = {}
        self._site = site
        self._folder = site.folder / "peers" / name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._in_postgres = self.manifest.store == "PostgreSQL"
        database = f"peer_{name.replace('-', '_')}"
        self._options = {
            "database_url": site.fresh_database(database) if self._in_postgres else "",
            "redis_url": f"{site.redis.url.rpartition('/')[0]}/{_REDIS_DATABASE}",
            "receiver": site.receiver.url,
            "payload": stock.PAYLOAD,
        }

    def jobs_for(self, workload: str, jobs: int) -> int:
        about = self.manifest.about_per_second.get(workload, jobs)
        return max(_LEAST_JOBS, min(jobs, round(about * _SECONDS_EACH)))

    def drain(self, jobs: int, executors: int) -> Mapping[str, float]:
        return self._emptied("drain", "noop", jobs, executors)

    def deliver(self, jobs: int, executors: int) -> Mapping[str, float]:
        self._site.receiver.mark()
        figures = self._emptied("deliver", "post", jobs, executors)
        came = {each.job_id for each in self._site.receiver.arrivals()}
        if len(came) < jobs:
            raise LostJobsError(f"{jobs - len(came)} of {jobs} jobs of {self.name} never reached the receiver")
        return figures

    def precision(self, jobs: int, rate: float) -> Mapping[str, float]:
        with self._control("precision", 1) as control, self._workers("precision", 1) as workers:
            self._warm(control, workers, "post")
            self._site.receiver.mark()
            first = time.time() + 2.0 + 1.5 * jobs / self.manifest.about_per_second["enqueue"]  # noqa: TID251 - the receiver's clock
            due = {f"job-{number}": first + number / rate for number in range(jobs)}
            control.ask(do="enqueue", kind="post", jobs=jobs, first=0, bulk=True, due=first, apart=1 / rate)
            give_up_at = first + jobs / rate + 15.0
            while self._site.receiver.count() < jobs and time.time() < give_up_at:  # noqa: TID251 - the same
                time.sleep(0.2)
            return late_figures(due, [(each.job_id, each.moment) for each in self._site.receiver.arrivals()])

    def enqueue(self, jobs: int) -> Mapping[str, float]:
        figures = {}
        with self._control("enqueue", 1) as control:
            for name, bulk, share in (("one_per_second", False, 5), ("bulk_per_second", True, 1)):
                count = max(_LEAST_JOBS, self.jobs_for("enqueue", jobs) // share)
                control.ask(do="prepare")
                self._settle()
                figures[name] = (
                    count / control.ask(do="enqueue", kind="post", jobs=count, first=0, bulk=bulk)["seconds"]
                )
        return figures

    # Parts -----------------------------------------------------------------------------------------------------------

    def _emptied(self, workload: str, kind: str, jobs: int, executors: int) -> Mapping[str, float]:
        with self._control(workload, executors) as control, self._workers(workload, executors) as workers:
            self._warm(control, workers, kind)
            before = workers.done()
            workers.pause()
            control.ask(do="enqueue", kind=kind, jobs=jobs, first=0, bulk=True)
            self._settle()
            began = monotonic()
            workers.go_on()
            ended = self._wait(control, workers, before + jobs)
        return {"per_second": jobs / (ended - began)}

    def _warm(self, control: "_Control", workers: "_Workers", kind: str) -> None:
        self.versions = control.ask(do="prepare")["versions"]
        control.ask(do="enqueue", kind=kind, jobs=_WARM_JOBS, first=1_000_000_000, bulk=True)
        workers.start()
        self._wait(control, workers, _WARM_JOBS)
        time.sleep(1.0)  # a second worker may still be starting

    def _wait(self, control: "_Control", workers: "_Workers", jobs: int) -> float:
        """Until `jobs` have been done and are recorded as done; answers when that was."""
        deadline = monotonic() + _PATIENCE_SECONDS
        while (done := workers.done()) < jobs:
            workers.check()
            if monotonic() > deadline:
                raise LostJobsError(f"{jobs - done} jobs of {self.name} were not done\n{workers.log()}")
            time.sleep(0.02)
        ended = workers.last()
        while control.ask(do="remaining")["remaining"]:
            ended = monotonic()
            if ended > deadline:
                raise LostJobsError(f"jobs of {self.name} are not recorded as done\n{workers.log()}")
            time.sleep(0.01)
        return ended

    def _settle(self) -> None:
        if self._in_postgres:
            stock.settle(self._options["database_url"])

    def _control(self, workload: str, executors: int) -> "_Control":
        return _Control(self.name, self._all(workload, executors), self._folder)

    def _workers(self, workload: str, executors: int) -> "_Workers":
        count = 1 if self.manifest.starts_own_processes else executors
        return _Workers(self.name, self._all(workload, executors), self._folder, count)

    def _all(self, workload: str, executors: int) -> dict[str, Any]:
        return {**self._options, "workload": workload, "workers": executors, "folder": str(self._folder)}


class _Control:
    """The driver that answers commands."""

    def __init__(self, name: str, options: Mapping[str, Any], folder: Path) -> None:
        self._name = name
        self._log = folder / "control.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own driver in its environment
                [*installing.program(name), "control", json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=installing.TOOLS / name,
                env=_environment(),
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=10)
        self._process.kill()
        self._process.wait()

    def ask(self, **command: object) -> dict[str, Any]:
        """Raises PeerFailedError."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - pipes
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            raise PeerFailedError(f"{self._name} is gone:\n{processes.tail(self._log)}") from error
        if "error" in answer:
            raise PeerFailedError(f"{self._name}: {answer['error']}\n{processes.tail(self._log)}")
        return cast("dict[str, Any]", answer)


class _Workers:
    """The peer's workers, each in a session of its own, so that a whole family can be stopped."""

    def __init__(self, name: str, options: Mapping[str, Any], folder: Path, count: int) -> None:
        self._name = name
        self._command = [*installing.program(name), "work", json.dumps(options)]
        self._folder = folder
        self._log = folder / "workers.log"
        self._count = count
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for left in self._folder.glob("*.tally"):
            left.unlink()
        self._log.write_bytes(b"")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_on()
        # Nothing is left to do, and what a worker would say at its end is nobody's concern.
        for how in (signal.SIGTERM, signal.SIGKILL):
            self._signal(how)
            processes.wait_until(lambda: all(each.poll() is not None for each in self._processes), _END_SECONDS)
        for each in self._processes:
            each.wait()

    def start(self) -> None:
        for _ in range(self._count):
            # Like a shell would: the worker's own folder is the environment's, its packages are there.
            with self._log.open("ab") as log:
                self._processes.append(
                    subprocess.Popen(  # noqa: S603 - our own driver in its environment
                        self._command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd=installing.TOOLS / self._name,
                        env=_environment(),
                        start_new_session=True,
                    )
                )

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def done(self) -> int:
        """How many jobs all processes have done since they started."""
        return sum(int(count) for count, _, _ in self._tallies())

    def last(self) -> float:
        """When the last of them was done, by the monotonic clock."""
        return max(last for _, _, last in self._tallies())

    def check(self) -> None:
        """Raises PeerFailedError when a worker has ended."""
        if any(each.poll() is not None for each in self._processes):
            raise PeerFailedError(f"a worker of {self._name} has ended:\n{self.log()}")

    def log(self) -> str:
        return processes.tail(self._log, 20)

    def _tallies(self) -> list[tuple[float, float, float]]:
        found = []
        for tally in self._folder.glob("*.tally"):
            count, first, last = map(float, tally.read_text(encoding="ascii").split())
            found.append((count, first, last))
        return found

    def _signal(self, how: signal.Signals) -> None:
        for each in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(each.pid, how)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_SHARED), "PYTHONUNBUFFERED": "1", "NODE_ENV": "production"}
