"""The executor with a courier that sends nothing: what a job costs beside its delivery.

This is the benchmark's own entry point, beside the product, not in it: everything but the courier is the executor's.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Any

from executor import crew
from executor.handler import lambda_handler as _lambda_handler
from scheduler_core.delivery.parcels import OnResults, Parcel
from scheduler_core.domain.jobs import AttemptKey, ClaimedJob
from scheduler_core.domain.outcomes import DeliveryResult, Verdict


class NoOpCourier:
    """Answers each parcel with a success once it is due, from a thread of its own, in batches as they came."""

    def __init__(self, *, on_results: OnResults, clock: Callable[[], datetime], **_: Any) -> None:
        self._on_results = on_results
        self._clock = clock
        self._ready: list[Parcel] = []
        self._held: list[tuple[datetime, int, Parcel]] = []
        self._submitted = 0
        self._changed = threading.Condition()
        self._leaving = False
        self._thread = threading.Thread(target=self._work, name="courier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, parcels: Sequence[Parcel]) -> None:
        with self._changed:
            now = self._clock()
            for parcel in parcels:
                if parcel.job.due_at <= now:
                    self._ready.append(parcel)
                else:
                    self._submitted += 1
                    heappush(self._held, (parcel.job.due_at, self._submitted, parcel))
            self._changed.notify()

    def abort(self, job_keys: Iterable[AttemptKey]) -> None:
        keys = frozenset(job_keys)
        with self._changed:
            self._ready = [each for each in self._ready if (each.job.id, each.job.attempt) not in keys]
            self._held = [each for each in self._held if (each[2].job.id, each[2].job.attempt) not in keys]
            heapify(self._held)

    def abort_all(self) -> list[ClaimedJob]:
        with self._changed:
            dropped = [*self._ready, *(each[2] for each in self._held)]
            self._ready, self._held = [], []
        return [parcel.job for parcel in dropped]

    def close(self, grace_seconds: float) -> list[ClaimedJob]:
        with self._changed:
            self._leaving = True
            self._changed.notify()
        self._thread.join(grace_seconds + 1.0)
        return self.abort_all()

    def _work(self) -> None:
        while not self._leaving:
            with self._changed:
                now = self._clock()
                due, self._ready = self._ready, []
                while self._held and self._held[0][0] <= now:
                    due.append(heappop(self._held)[2])
                if not due:
                    wait = (self._held[0][0] - now).total_seconds() if self._held else 1.0
                    self._changed.wait(max(0.0, wait))
                    continue
            done = DeliveryResult(Verdict.DONE, now, now, 200)
            self._on_results([(parcel.job, done) for parcel in due])


crew.Courier = NoOpCourier  # type: ignore[attr-defined, assignment] # the one part that is replaced
lambda_handler = _lambda_handler
