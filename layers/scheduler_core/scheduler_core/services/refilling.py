"""Fills the ready set from PostgreSQL: each minute by the populator, at once by an executor that finds it empty.

The order is the order of due times. Where that would let one merchant's backlog take all the room, a second look
passes the heavy merchants over, so that the others' jobs get in as well.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from uuid import UUID

from scheduler_core.domain.jobs import Hint
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.storage import claims
from scheduler_core.storage.database import Database

PAGE = 2_000
LIGHT_PAGE = 2_000
HEAVY_SHARE = 4
"""A merchant is heavy if it takes more than one part in so many of what was read."""
DUTY_SECONDS = 5.0
_MERCHANT = attrgetter("merchant_id.int")
_BEGINNING = claims.Place(datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refill:
    """What a filling did."""

    announced: int = 0
    complete: bool = True
    """False: PostgreSQL has more inside the horizon than there is room for."""
    busy: bool = False
    """True: somebody else is at it; nothing was done."""
    must_invoke: bool = False
    """True: something is due soon and no executor is awake."""


class Refiller:
    """Copies what falls due within the horizon from PostgreSQL to the ready set, at most `room` hints a time."""

    def __init__(self, database: Database, queue: ReadySet, *, horizon: timedelta, room: int, holder: str) -> None:
        self._database = database
        self._queue = queue
        self._horizon = horizon
        self._room = room
        self._holder = holder

    def from_the_start(self, now: datetime, invoke: Callable[[], object] | None = None) -> Refill:
        """Everything inside the horizon, as far as there is room: heals whatever was lost.

        `invoke` is called as soon as something is announced for which no executor is awake, so that one starts while
        the rest is being copied.
        """
        return self._fill(now, invoke, anew=True)

    def further(self, now: datetime) -> Refill:
        """From where the last filling had to stop, or from what was left out since, if that is due earlier."""
        return self._fill(now)

    def _fill(self, now: datetime, invoke: Callable[[], object] | None = None, *, anew: bool = False) -> Refill:
        if not self._queue.take_duty("refill", self._holder, seconds=DUTY_SECONDS):
            return Refill(busy=True)
        try:
            place = self._queue.resume()
            return self._copy(now, _BEGINNING if anew or place is None else claims.Place(*place), invoke)
        finally:
            self._queue.leave_duty("refill", self._holder)

    def _copy(self, now: datetime, start: claims.Place, invoke: Callable[[], object] | None) -> Refill:
        until, place, announced, must_invoke = now + self._horizon, start, 0, False
        seen: Counter[int] = Counter()
        while True:
            most = min(PAGE, self._room - announced)
            page = self._page(place, until, most)
            filled = self._queue.fill(now, page)
            if filled.must_invoke and not must_invoke:
                must_invoke = True
                if invoke is not None:
                    invoke()
            seen.update(map(_MERCHANT, page))
            announced += len(page) - filled.left_out
            if filled.left_out:
                break  # the next filling begins with this page again
            if len(page) < most:
                self._queue.mark_filled(None)
                return Refill(announced=announced, must_invoke=must_invoke)
            place = claims.Place(page[-1].due_at, page[-1].job_id)
            if announced >= self._room:
                break
        heavy = [UUID(int=merchant) for merchant, count in seen.items() if count * HEAVY_SHARE > seen.total()]
        light = self._page(place, until, LIGHT_PAGE, skipped=heavy)
        must_invoke |= self._queue.announce(now, light)
        self._queue.mark_filled((place.due_at, place.job_id))
        return Refill(announced=announced + len(light), complete=False, must_invoke=must_invoke)

    def _page(self, place: claims.Place, until: datetime, most: int, skipped: list[UUID] | None = None) -> list[Hint]:
        with self._database.transaction() as connection:
            return claims.due_page_across_merchants(
                connection, after=place, until=until, most=most, skipped=skipped or []
            )
