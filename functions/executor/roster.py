"""Who is on board: the jobs that this executor holds, and how many more it may take, of whom."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

from scheduler_core.clock import monotonic
from scheduler_core.domain.fairness import allowance
from scheduler_core.domain.jobs import ClaimedJob

AHEAD_SECONDS = 0.05
FEW_SHARE = 64
"""A merchant that has no more than one part in so many of all has a few: it may get what any other may get."""
_MERCHANT = attrgetter("merchant_id.int")
_LEASE = attrgetter("lease_id")


class Roster:
    """Shared by the executor's threads.

    A job is under way until its delivery has ended, and on board until that is recorded. Room is a matter of those
    under way, at most `limit`, so that recording and the next deliveries overlap; none is left while `unrecorded` or
    more wait for the database. The limit is `capacity`, what can be delivered at once, and beyond it what was delivered
    in the last `AHEAD_SECONDS`, at most `ahead`: where targets are quick the next claim is a large one, and where they
    are slow no job is held that another executor could deliver.

    A job is known by its object, the one that the claim made: whoever names it passes that one. Each comes by here five
    times, and to hash an id and the attempt's number is most of what that would cost.

    A lease is spent once none of its jobs is on board: whoever writes to the database next ends it there. One whose
    jobs may still run in the eyes of the database must run out instead, or nobody would ever rescue them.
    """

    def __init__(
        self, capacity: int, unrecorded: int, *, ahead: int = 0, clock: Callable[[], float] = monotonic
    ) -> None:
        self._capacity = capacity
        self._most_unrecorded = unrecorded
        self._most_ahead = ahead
        self._clock = clock
        self._span_began, self._in_span, self._in_last_span = 0.0, 0, 0
        self._under_way: dict[int, ClaimedJob] = {}
        self._ended: dict[int, ClaimedJob] = {}
        self._of_merchant: Counter[int] = Counter()
        self._uncounted: list[int] = []  # merchants of whom one job each is in `_of_merchant` still, but has ended
        self._of_lease: Counter[int] = Counter()
        self._spent: set[int] = set()
        self._forsaken: set[int] = set()
        self._changed = threading.Condition()
        self._wanted_room = 0

    def __len__(self) -> int:
        return len(self._under_way) + len(self._ended)

    @property
    def is_under_way(self) -> bool:
        """Whether any delivery is, of which a result will come."""
        return bool(self._under_way)

    def add(self, lease_id: int, jobs: Sequence[ClaimedJob]) -> None:
        """These jobs, all of one lease, are on board and under way now."""
        with self._changed:
            self._under_way.update({id(job): job for job in jobs})
            self._of_merchant.update(map(_MERCHANT, jobs))
            if jobs:
                self._of_lease[lease_id] = len(jobs)
            else:
                self._spent.add(lease_id)

    def delivered(self, jobs: Iterable[ClaimedJob]) -> None:
        """The deliveries of these have ended; they wait to be recorded."""
        with self._changed:
            before = len(self._under_way)
            self._end(jobs, self._ended)
            self._pass_time()
            self._in_span += before - len(self._under_way)
            self._tell()

    def remove(self, jobs: Iterable[ClaimedJob]) -> list[ClaimedJob]:
        """These are not on board any more, and do not run any more; answers those that were on board."""
        with self._changed:
            return self._take_off(jobs)

    def forsake(self, jobs: Iterable[ClaimedJob]) -> None:
        """These are not on board any more, but may run in the eyes of the database until their leases run out."""
        with self._changed:
            ended, under_way = self._ended, self._under_way
            on_board = [job for job in jobs if id(job) in ended or id(job) in under_way]
            self._forsaken.update(map(_LEASE, on_board))
            self._take_off(on_board)

    def spent_after(self, jobs: Iterable[ClaimedJob]) -> list[int]:
        """The leases that can be ended in the database once the ends of `jobs` are written, or with them."""
        with self._changed:
            ended, under_way = self._ended, self._under_way
            ending = Counter(
                map(_LEASE, {id(job): job for job in jobs if id(job) in ended or id(job) in under_way}.values())
            )
            spent = [lease for lease, count in ending.items() if self._of_lease[lease] == count]
            return [*self._spent, *(lease for lease in spent if lease not in self._forsaken)]

    def ended(self, leases: Iterable[int]) -> None:
        """The database does not have these leases any more."""
        with self._changed:
            self._spent.difference_update(leases)

    def held(self) -> list[ClaimedJob]:
        """All jobs on board at this moment."""
        with self._changed:
            return [*self._under_way.values(), *self._ended.values()]

    def room(self) -> int:
        """How many more jobs may come on board."""
        return self.limit() - len(self._under_way) if len(self._ended) < self._most_unrecorded else 0

    def limit(self) -> int:
        """How many jobs may be under way at this moment."""
        with self._changed:
            self._pass_time()
            return self._capacity + min(self._in_last_span, self._most_ahead)

    def allowances(self, coming: Counter[int]) -> tuple[int, dict[int, int]]:
        """How many more jobs any merchant may get, and how many those may that have more than a few under way already.

        So many of each merchant are `coming` on board in any case. Merchants' ids are numbers here. At midnight there
        may be as many merchants as jobs; of those named there are fewer than `FEW_SHARE`.
        """
        with self._changed:
            room = max(0, self.room() - coming.total())
            if self._uncounted:
                self._of_merchant -= Counter(self._uncounted)
                self._uncounted.clear()
            held = self._of_merchant + coming if coming else self._of_merchant
            few = max(self.limit(), held.total()) // FEW_SHARE
            named = {merchant: allowance(count, room) for merchant, count in held.items() if count > few}
            return allowance(0, room), named

    def wait_for_room(self, least: int, seconds: float) -> bool:
        """Wait until there is room for `least` jobs, at most `seconds`; answers whether there is. One thread may."""
        with self._changed:
            self._wanted_room = least
            try:
                return self._changed.wait_for(lambda: self.room() >= least, seconds)
            finally:
                self._wanted_room = 0

    def wait_until_empty(self, seconds: float) -> bool:
        """Wait until nobody is on board, at most `seconds`; answers whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not len(self), seconds)

    def _tell(self) -> None:
        """Wake who waits, if there is room enough for that: a courier at work comes by a thousand times a second."""
        if self.room() >= self._wanted_room:
            self._changed.notify_all()

    def _pass_time(self) -> None:
        now = self._clock()
        passed = now - self._span_began
        if passed >= AHEAD_SECONDS:
            self._in_last_span = self._in_span if passed < 2 * AHEAD_SECONDS else 0
            self._span_began, self._in_span = now, 0

    def _take_off(self, jobs: Iterable[ClaimedJob]) -> list[ClaimedJob]:
        removed: list[ClaimedJob] = []
        cut_off: dict[int, ClaimedJob] = {}
        ended, under_way = self._ended, self._under_way
        for job in jobs:
            key = id(job)
            if ended.pop(key, None) is not None:
                removed.append(job)
            elif key in under_way:
                cut_off[key] = job
        self._end(cut_off.values(), {})
        removed += cut_off.values()
        for lease, count in Counter(map(_LEASE, removed)).items():
            self._of_lease[lease] -= count
            if not self._of_lease[lease]:
                del self._of_lease[lease]
                if lease in self._forsaken:
                    self._forsaken.remove(lease)
                else:
                    self._spent.add(lease)
        self._tell()
        return removed

    def _end(self, jobs: Iterable[ClaimedJob], ended: dict[int, ClaimedJob]) -> None:
        """Each is counted off its merchant when it is next asked for that, all at once: a tenth of the cost."""
        under_way, uncounted = self._under_way, self._uncounted
        for job in jobs:
            key = id(job)
            if under_way.pop(key, None) is not None:
                ended[key] = job
                uncounted.append(job.merchant_id.int)
