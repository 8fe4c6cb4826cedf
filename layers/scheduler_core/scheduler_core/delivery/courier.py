"""Delivers claimed jobs, each at its due time: one thread around libcurl's multi interface, with a small pool for AWS.

Whatever happens to one delivery, the thread goes on: a target that makes no sense is a permanent failure of its own
job, an error of ours a retryable one.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pycurl

from scheduler_core.clock import monotonic, utc_now
from scheduler_core.delivery.letter import letterhead
from scheduler_core.delivery.line import Line, LineOptions, system_ca_bundle
from scheduler_core.delivery.parcels import Delivery, OnResults, Parcel
from scheduler_core.delivery.sockets import Sockets
from scheduler_core.domain.addresses import Network
from scheduler_core.domain.fairness import Turns
from scheduler_core.domain.jobs import AttemptKey, ClaimedJob
from scheduler_core.domain.outcomes import DeliveryResult, Verdict
from scheduler_core.domain.targets import AwsTarget, arn_allowed

if TYPE_CHECKING:
    from scheduler_core.delivery.aws import AwsDesk

DEFAULT_USER_AGENT: Final = "task-scheduler/1"
_LONGEST_WAIT_SECONDS: Final = 60.0
_PAUSE_AFTER_ERROR_SECONDS: Final = 0.05
_LOOK_UP_SECONDS: Final = 0.2
_MOST_FINISHED: Final = 100_000
_STARTS_PER_READING: Final = 16
"""How many deliveries are started between two looks at the clock: about half a millisecond's worth."""
_READINGS_PER_TURN: Final = 4
"""A turn starts no more than 64, some 5 ms' worth: a merchant's job that comes now waits no longer for its own turn."""

_log = logging.getLogger(__name__)


class Courier:
    """Takes parcels, sends each at its `due_at` (never before), and hands results back in lists.

    `on_results` is called from the courier's thread, once per turn of its loop; what it raises is logged and dropped.
    `max_in_flight` bounds the deliveries under way at once. What is due and waits to be sent is taken from merchants in
    turn, by weight: a single job never stands behind another merchant's batch.
    `ca_bundle`: a file of certificate authorities, by default the system's. `pins`: `host:port:address`, looked at
    before DNS; the addresses are judged all the same. All methods are safe to call from any thread.
    """

    def __init__(
        self,
        *,
        allowed_networks: Sequence[Network],
        on_results: OnResults,
        max_in_flight: int,
        clock: Callable[[], datetime] = utc_now,
        user_agent: str = DEFAULT_USER_AGENT,
        ca_bundle: str | None = None,
        pins: Sequence[str] = (),
    ) -> None:
        self._on_results = on_results
        self._most = max_in_flight
        self._clock = clock
        self._options = LineOptions(
            allowed=tuple(allowed_networks),
            user_agent=user_agent,
            ca_bundle=ca_bundle or system_ca_bundle(),
            pins=tuple(pins),
        )
        self._load = _Load()
        self._mail: deque[Callable[[], object]] = deque()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._accepts = False
        # What follows belongs to the courier's thread alone, once it runs.
        self._sockets = Sockets()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._sockets.watch)
        self._multi.setopt(pycurl.M_MAXCONNECTS, max_in_flight)
        # An attribute of libcurl's objects takes several times as long to look up as one of ours.
        self._add_handle, self._remove_handle = self._multi.add_handle, self._multi.remove_handle
        self._lines: dict[pycurl.Curl, Line] = {}
        self._idle: list[Line] = []
        self._at_aws: dict[AttemptKey, ClaimedJob] = {}
        self._desk: AwsDesk | None = None
        self._held: list[tuple[datetime, int, Parcel]] = []
        self._order = count()
        self._ready: Turns[int, Parcel] = Turns()  # by the merchant's id as a number, which Python compares faster
        self._results: list[Delivery] = []
        self._leave_at: float | None = None
        self._left: list[ClaimedJob] = []

    @property
    def in_flight(self) -> int:
        """Parcels that are held or being sent."""
        return self._load.total

    def start(self) -> None:
        """Start the thread; once in a courier's life."""
        self._accepts = True
        self._thread.start()

    def submit(self, parcels: Sequence[Parcel]) -> None:
        """Take parcels and return at once. Raises RuntimeError before `start` and after `close`."""
        if not self._accepts:
            raise RuntimeError("the courier is not open")
        self._load.add(len(parcels))
        self._tell(lambda: self._take(parcels))

    def abort(self, job_keys: Iterable[AttemptKey]) -> None:
        """Cut off or drop these attempts: they yield no result, unless it is on its way already."""
        keys = frozenset(job_keys)
        self._tell(lambda: self._drop(lambda job: (job.id, job.attempt) in keys))

    def abort_all(self) -> list[ClaimedJob]:
        """Cut off and drop everything; answers what that was, of which no result follows. Waits for the thread."""
        if threading.current_thread() is self._thread:
            self._read_mail()
            return self._drop(_every)
        dropped: Future[list[ClaimedJob]] = Future()
        self._tell(lambda: dropped.set_result(self._drop(_every)))
        while self._thread.is_alive() or dropped.done():
            with suppress(TimeoutError):
                return dropped.result(_LOOK_UP_SECONDS)
        return []  # it had left: `close` answers what was dropped

    def close(self, grace_seconds: float) -> list[ClaimedJob]:
        """End the thread once nothing is in flight, or after `grace_seconds`; answers what was dropped then."""
        self._accepts = False
        if self._thread.is_alive():
            leave_at = monotonic() + grace_seconds
            self._tell(lambda: setattr(self, "_leave_at", leave_at))
            self._thread.join()
        elif self._thread.ident is None:
            self._give_up()
        left, self._left = self._left, []
        return left

    # The thread ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._may_leave():
            try:
                self._turn()
            except Exception:  # noqa: BLE001 - the thread survives whatever happens
                _log.exception("the courier stumbled and goes on")
                time.sleep(_PAUSE_AFTER_ERROR_SECONDS)
        self._collect()
        self._hand_over()
        self._read_mail()
        self._left = self._drop(_every)
        self._give_up()

    def _turn(self) -> None:
        self._read_mail()
        self._start_due()
        multi = self._multi
        act, timeout = multi.socket_action, multi.timeout()
        if timeout == 0:
            act(pycurl.SOCKET_TIMEOUT, 0)
            self._collect()
            timeout = multi.timeout()
        for fd, selected in self._sockets.wait(self._patience(timeout)):
            act(fd, selected)
        self._collect()
        self._hand_over()

    def _patience(self, timeout_ms: int) -> float:
        """How long nothing needs to be done, in seconds, if no socket stirs and nobody rings."""
        if self._results or self._mail or self._may_leave():
            return 0.0
        wait = _LONGEST_WAIT_SECONDS if timeout_ms < 0 else timeout_ms / 1_000
        if self._ready and self._room() > 0:
            return 0.0
        if self._held:
            wait = min(wait, (self._held[0][0] - self._clock()).total_seconds())
        if self._leave_at is not None:
            wait = min(wait, self._leave_at - monotonic())
        return max(wait, 0.0)

    def _may_leave(self) -> bool:
        if self._leave_at is None:
            return False
        return (self._load.total == 0 and not self._mail) or monotonic() >= self._leave_at

    def _tell(self, message: Callable[[], object]) -> None:
        self._mail.append(message)
        self._sockets.ring()

    def _read_mail(self) -> None:
        while self._mail:
            self._mail.popleft()()

    def _take(self, parcels: Sequence[Parcel]) -> None:
        now = self._clock()
        for parcel in parcels:
            due_at = parcel.job.due_at
            if due_at <= now:
                self._line_up(parcel)
            else:
                heappush(self._held, (due_at, next(self._order), parcel))

    def _line_up(self, parcel: Parcel) -> None:
        self._ready.add(parcel.job.merchant_id.int, parcel, weight=parcel.weight)

    def _room(self) -> int:
        return self._most - (len(self._lines) - len(self._idle) + len(self._at_aws))

    def _start_due(self) -> None:
        held, ready = self._held, self._ready
        if held:
            now = self._clock()
            while held and held[0][0] <= now:
                self._line_up(heappop(held)[2])
        for _ in range(_READINGS_PER_TURN):
            count = min(_STARTS_PER_READING, len(ready), self._room()) if ready else 0
            if count <= 0:
                return
            now = self._clock()
            for _ in range(count):
                self._start(ready.take(), now)

    def _start(self, parcel: Parcel, now: datetime) -> None:
        job = parcel.job
        try:
            head = letterhead(job.target)
        except ValueError as error:
            self._results.append((job, DeliveryResult(Verdict.PERMANENT, now, now, None, str(error))))
            return
        try:
            if isinstance(head, AwsTarget):
                self._send_to_aws(parcel, head)
                return
            line = self._idle.pop() if self._idle else self._new_line()
            try:
                line.load(job, head, parcel.signers, now)
                self._add_handle(line.curl)
            except BaseException:
                self._lines.pop(line.curl, None)
                line.close()
                raise
        except Exception as error:  # noqa: BLE001 - one job's trouble is no other's
            self._results.append((job, _stumbled(error, now, self._clock())))

    def _new_line(self) -> Line:
        line = Line(self._options, self._sockets.opened)
        self._lines[line.curl] = line
        return line

    def _collect(self) -> None:
        _, completed, failed = self._multi.info_read(_MOST_FINISHED)
        if not completed and not failed:
            return
        now = self._clock()
        for curl in completed:
            self._finish(curl, pycurl.E_OK, "", now)
        for curl, code, message in failed:
            self._finish(curl, code, message, now)

    def _finish(self, curl: Any, code: int, message: str, now: datetime) -> None:
        line = self._lines[curl]
        job: Any = line.job  # there is one while libcurl has the line
        self._remove_handle(curl)
        try:
            result = line.failed(code, message, now) if code else line.answered(now)
        except Exception as error:  # noqa: BLE001 - the transfer is over, so its job gets a result
            result = _stumbled(error, now, now)
        self._put_by(line)
        self._results.append((job, result))

    def _put_by(self, line: Line) -> None:
        line.unload()
        self._idle.append(line)

    def _hand_over(self) -> None:
        results, self._results = self._results, []
        if not results:
            return
        self._load.add(-len(results))
        try:
            self._on_results(results)
        except Exception:  # noqa: BLE001 - its owner's trouble is not the courier's
            _log.exception("%d results were not taken", len(results))

    def _drop(self, unwanted: Callable[[ClaimedJob], bool]) -> list[ClaimedJob]:
        dropped = [parcel.job for parcel in self._ready.remove(lambda parcel: unwanted(parcel.job))]
        waiting = len(dropped)
        dropped += [entry[2].job for entry in self._held if unwanted(entry[2].job)]
        if len(dropped) > waiting:
            self._held = [entry for entry in self._held if not unwanted(entry[2].job)]
            heapify(self._held)
        for line in self._lines.values():
            if line.job is not None and unwanted(line.job):
                dropped.append(line.job)
                self._remove_handle(line.curl)
                self._put_by(line)
        for key, job in [*self._at_aws.items()]:
            if unwanted(job):
                dropped.append(self._at_aws.pop(key))
        self._load.add(-len(dropped))
        return dropped

    def _send_to_aws(self, parcel: Parcel, target: AwsTarget) -> None:
        job, now = parcel.job, self._clock()
        if not arn_allowed(target.arn, parcel.allowed_arns):
            self._results.append(
                (job, DeliveryResult(Verdict.PERMANENT, now, now, None, f"{target.arn} is not an allowed target"))
            )
            return
        if self._desk is None:
            from scheduler_core.delivery.aws import AwsDesk  # half a second for boto3, so only where it is needed

            self._desk = AwsDesk(clock=self._clock)
        self._at_aws[job.id, job.attempt] = job
        self._desk.send(job, target, lambda result: self._tell(lambda: self._returned(job, result)))

    def _returned(self, job: ClaimedJob, result: DeliveryResult) -> None:
        if self._at_aws.pop((job.id, job.attempt), None) is not None:
            self._results.append((job, result))

    def _give_up(self) -> None:
        if self._desk is not None:
            self._desk.close()
        self._multi.close()
        for line in self._lines.values():
            line.close()
        self._sockets.close()


def _every(_: ClaimedJob) -> bool:
    return True


def _stumbled(error: Exception, started_at: datetime, now: datetime) -> DeliveryResult:
    """The result of a delivery that failed through us. The error's text stays out of it: it might quote anything."""
    _log.error("a delivery failed through us", exc_info=error)
    text = f"the scheduler could not deliver it ({type(error).__name__})"
    return DeliveryResult(Verdict.RETRYABLE, started_at, now, None, text)


class _Load:
    """How many parcels are held or being sent."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.total += count
