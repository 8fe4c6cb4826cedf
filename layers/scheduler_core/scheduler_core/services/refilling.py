"""Fills the ready set from PostgreSQL: each minute by the populator, at once by an executor that finds it empty.

The order is the order of due times. Where there is no room for everything in that order, a second look goes on from
there and passes the heavy merchants over: however long their backlog takes, the jobs of others get in in time.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from scheduler_core.clock import monotonic
from scheduler_core.domain.ids import from_milliseconds, milliseconds, milliseconds_up
from scheduler_core.domain.jobs import DuePage, Place
from scheduler_core.queueing.ready_set import Progress, ReadySet
from scheduler_core.storage import claims
from scheduler_core.storage.database import Database

PAGE = 2_000
"""How many jobs are read at once, at most."""
PAGES = 30
"""At least so many pages fill the room: the next filling goes on from the beginning of the page that found none."""
LIGHT_PAGES = 4
"""In so many pages, so that one more backlog that comes to light takes but one of them."""
HEAVY_SHARE = 20
"""A merchant is heavy if its jobs are more than one part in so many of what was read."""
LIGHT_SHARE = 1 / 8
"""How much of the room is read at once beside the heavy: what fillings leave of it."""
DUTY_SECONDS = 5.0
_BEGINNING: Final = Place(datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


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
    lost: bool = False
    """True: something got lost meanwhile, or somebody else took over; whoever pops next fills the set anew."""


class Refiller:
    """Copies what falls due within the horizon from PostgreSQL to the ready set, at most `room` hints a time."""

    def __init__(self, database: Database, queue: ReadySet, *, horizon: timedelta, room: int, holder: str) -> None:
        self._database = database
        self._queue = queue
        self._horizon = horizon
        self._room = room
        self._holder = holder
        self._kept_at = 0.0

    def from_the_start(self, now: datetime, alarm: Callable[[int], object] | None = None) -> Refill:
        """Everything inside the horizon, as far as there is room: heals whatever was lost.

        From when on something is announced for which no executor is awake, `alarm` is told after each page how many of
        those announced are due: so executors start while the rest is being copied. Where Redis is emptied meanwhile, or
        a hint is said to be lost, everything is copied once more.
        """
        copy = partial(self._copy, now, Progress(), _BEGINNING, alarm)
        refill = self._on_duty(copy)
        # Executors that are awake would see that as well; but for what is due until the next tick there may be none.
        return self._on_duty(copy) if refill.lost else refill

    def heal(self, now: datetime) -> Refill:
        """As `from_the_start`, unless somebody else has just done that."""
        return self._on_duty(partial(self._copy_missing, now))

    def further(self, now: datetime) -> Refill:
        """From where the last filling had to stop, or from what was left out since, if that is due earlier."""
        return self._on_duty(partial(self._copy_further, now))

    def beside(self, now: datetime) -> Refill:
        """What is not of the merchants that were found heavy, from where it was not read further for want of room."""
        return self._on_duty(partial(self._copy_beside, now))

    def _on_duty(self, copy: Callable[[], Refill]) -> Refill:
        losses = self._queue.begin_filling(self._holder, seconds=DUTY_SECONDS)
        if losses is None:
            return Refill(complete=False, busy=True)
        self._kept_at, refill, kept = monotonic(), None, False
        try:
            refill = copy()
        finally:
            kept = self._queue.end_filling(self._holder, losses)
            if refill is None or not kept:  # then nobody knows what is missing in it
                self._queue.mark_incomplete()
        return refill if kept else replace(refill, lost=True)

    def _keep_duty(self) -> None:
        """Called for each page: so a filling may take as long as it must, and one that has died holds up nobody."""
        if monotonic() - self._kept_at > DUTY_SECONDS / 5:
            self._queue.keep_duty("refill", self._holder, seconds=DUTY_SECONDS)
            self._kept_at = monotonic()

    def _copy(
        self, now: datetime, before: Progress, start: Place, alarm: Callable[[int], object] | None = None
    ) -> Refill:
        until, place, announced, due, must_invoke = now + self._horizon, start, 0, 0, False
        filled_so_far = partial(self._queue.mark_filled, now, whole=start == _BEGINNING)
        seen: Counter[int] = Counter()
        page_most = min(PAGE, max(1, self._room // PAGES))
        while announced < self._room:
            most = min(page_most, self._room - announced)
            page = self._page(place, until, most)
            count = page.size
            filled = self._queue.fill(now, page.groups, anew=place == _BEGINNING)
            must_invoke |= filled.must_invoke
            announced += count - filled.left_out
            due += min(count - filled.left_out, sum(_due(page, now).values()))
            if must_invoke and alarm is not None:
                alarm(due)
            for group in page.groups:
                seen[group.merchant_id.int] += len(group.job_ids)
            if filled.left_out:
                place = _before_its_like(place, now)
                break  # the next filling begins with this page again
            if count < most or page.end is None:
                filled_so_far(Progress())
                return Refill(announced=announced, must_invoke=must_invoke)
            place = page.end
        if before.cursor is not None:
            # What is not of heavy merchants was read beyond this place already.
            light = _earlier(before.light, before.left_out_from)
            filled_so_far(Progress(cursor=place, light=light, heavy=before.heavy))
            return Refill(announced=announced, complete=False, must_invoke=must_invoke)
        heavy = _heavy(seen, seen.total())
        beside = self._light(now, place, heavy)
        filled_so_far(Progress(cursor=place, light=beside.place, heavy=heavy))
        return Refill(
            announced=announced + beside.announced, complete=False, must_invoke=must_invoke or beside.must_invoke
        )

    def _copy_missing(self, now: datetime) -> Refill:
        return Refill() if self._queue.is_whole() else self._copy(now, Progress(), _BEGINNING)

    def _copy_further(self, now: datetime) -> Refill:
        before = self._queue.resume()
        start = _earlier(before.cursor, before.left_out_from) or _BEGINNING
        return self._copy_from(now, before, start)

    def _copy_from(self, now: datetime, before: Progress, start: Place) -> Refill:
        if before.has_bundles and start != before.cursor:  # what lies between is in the set
            return self._copy(now, Progress(), _BEGINNING)
        return self._copy(now, before, start)

    def _copy_beside(self, now: datetime) -> Refill:
        before = self._queue.resume()
        start = _earlier(before.light, before.left_out_from)
        if before.cursor is None:  # then nobody is heavy
            return self._copy_from(now, before, start) if start else Refill()
        if start is None:  # somebody else has seen to it
            self._queue.mark_filled(now, before, whole=False)
            return Refill(complete=False)
        beside = self._light(now, start, before.heavy)
        self._queue.mark_filled(now, before._replace(light=beside.place), whole=False)
        return Refill(announced=beside.announced, complete=False, must_invoke=beside.must_invoke)

    def _light(self, now: datetime, place: Place, heavy: tuple[UUID, ...]) -> "_Beside":
        """Read on from `place`, but pass `heavy` merchants over, and those as well that turn out to be on the way."""
        if not heavy:  # whoever goes on in the order of due times comes to all of them
            return _Beside(None, 0, must_invoke=False)
        until, announced, must_invoke = now + self._horizon, 0, False
        room = max(1, int(self._room * LIGHT_SHARE))
        most = max(1, room // LIGHT_PAGES)
        turned_out_at: Place | None = None
        while announced < room:
            page = self._page(place, until, most, heavy)
            count = page.size
            filled = self._queue.fill_beside(now, page.groups)
            must_invoke |= filled.must_invoke
            announced += count - filled.left_out
            if filled.left_out:
                break
            if count < most or page.end is None:
                return _Beside(turned_out_at, announced, must_invoke)
            if more_heavy := _heavy(_due(page, now), count):
                # Only for this time, for it may be worked off by the next; which adds nothing where it is not.
                heavy += more_heavy
                turned_out_at = turned_out_at or place
            place = page.end
        return _Beside(turned_out_at or place, announced, must_invoke)

    def _page(self, place: Place, until: datetime, most: int, skipped: Sequence[UUID] = ()) -> DuePage:
        self._keep_duty()
        with self._database.transaction() as connection:
            return claims.due_page_across_merchants(connection, after=place, until=until, most=most, skipped=skipped)


class _Beside(NamedTuple):
    """How far `_light` came: from `place` on something is missing; None: nothing."""

    place: Place | None
    announced: int
    must_invoke: bool


def _heavy(seen: Counter[int], total: int) -> tuple[UUID, ...]:
    return tuple(UUID(int=merchant) for merchant, count in seen.items() if count * HEAVY_SHARE > total)


def _earlier(*places: Place | None) -> Place | None:
    return min((place for place in places if place is not None), default=None)


def _before_its_like(place: Place, now: datetime) -> Place:
    """Before all that is due in the millisecond of `place`, where that is to come.

    What is due last goes out of a full set; of what is due at one time that may be what was filled before `place`.
    """
    if place.due_at <= now:
        return place
    return Place(from_milliseconds(milliseconds_up(place.due_at) - 1), UUID(int=0))


def _due(page: DuePage, now: datetime) -> Counter[int]:
    """How many jobs of each merchant are due."""
    now_ms, due = milliseconds(now), Counter[int]()
    for group in page.groups:
        due[group.merchant_id.int] += bisect_right(group.due_ms, now_ms)
    return due
