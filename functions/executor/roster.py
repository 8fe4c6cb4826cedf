"""Who is on board: the jobs that this executor holds, and how many more it may take, of whom."""

import threading
from collections import Counter
from collections.abc import Iterable
from uuid import UUID

from scheduler_core.domain.fairness import allowance
from scheduler_core.domain.jobs import ClaimedJob
from scheduler_core.storage.claims import AttemptKey


class Roster:
    """Shared by the executor's threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: dict[AttemptKey, ClaimedJob] = {}
        self._of_merchant: Counter[UUID] = Counter()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, jobs: Iterable[ClaimedJob]) -> None:
        """These jobs are on board now."""
        with self._changed:
            for job in jobs:
                self._held[job.id, job.attempt] = job
                self._of_merchant[job.merchant_id] += 1

    def remove(self, keys: Iterable[AttemptKey]) -> list[ClaimedJob]:
        """These are not any more; answers those that were."""
        removed = []
        with self._changed:
            for key in keys:
                job = self._held.pop(key, None)
                if job is None:
                    continue
                removed.append(job)
                self._of_merchant[job.merchant_id] -= 1
                if not self._of_merchant[job.merchant_id]:
                    del self._of_merchant[job.merchant_id]
            self._changed.notify_all()
        return removed

    def held(self) -> list[ClaimedJob]:
        """All jobs on board at this moment."""
        with self._changed:
            return list(self._held.values())

    def room(self) -> int:
        """How many more jobs may come on board."""
        return self._capacity - len(self._held)

    def allowances(self) -> tuple[int, dict[UUID, int]]:
        """How many more jobs any merchant may get, and how many those may that hold some already."""
        with self._changed:
            room = self.room()
            return allowance(0, room), {merchant: allowance(held, room) for merchant, held in self._of_merchant.items()}

    def wait_for_room(self, least: int, seconds: float) -> bool:
        """Wait until there is room for `least` jobs, at most `seconds`; answers whether there is."""
        with self._changed:
            return self._changed.wait_for(lambda: self.room() >= least, seconds)

    def wait_until_empty(self, seconds: float) -> bool:
        """Wait until nobody is on board, at most `seconds`; answers whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, seconds)
