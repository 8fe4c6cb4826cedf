"""The ready set: which jobs fall due within the horizon, popped fairly across merchants.

Everything here is a hint (I2) and may vanish at any moment (I1). All keys share one hash tag, `{ts:0}`, so that a
cluster keeps a shard on one node; the `3` after it is the version of the layout. Needs Redis 6.2 or Valkey 7.2.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from scheduler_core.domain.ids import from_milliseconds, milliseconds
from scheduler_core.domain.jobs import Hint, HintGroup, MerchantLimits, Place
from scheduler_core.domain.scaling import LINGER, TICK
from scheduler_core.kept_secrets import Secret, secret_of
from scheduler_core.queueing.announcement import PRIORITY_STEP, Announcement, announcement, announcement_of_groups
from scheduler_core.queueing.redis_connection import RedisConnection
from scheduler_core.queueing.redis_py import Pipeline, redis
from scheduler_core.settings import QueueSettings

BASE_KEY = "{ts:0}:3"
ROOM_SHARE = 7
"""So many times the room that it leaves one merchant's backlog may take: seven eighths of the set if it is alone, seven
fifteenths each if they are two. A job that comes beside them must not wait until they are worked off."""
TERMS_SECONDS = 60
VISIBILITY_SECONDS = 5.0
PRESENCE_SECONDS = 5.0
CANCELLED_KEPT_SECONDS = 60
PROGRESS_KEPT_SECONDS = 300
DOUBT_KEPT_SECONDS = 120
TICK_KNOWN_SECONDS = TICK.total_seconds() + 5.0
"""How long a tick promises another: one that is later than that has stopped, for all we know."""
_NEWCOMER = b"newcomer"
_SCRIPTS = {
    "announce": ("common", "later", "ready"),
    "pop": ("common", "later", "ready"),
    "arrive": ("common", "later"),
    "leave": ("common", "later"),
    "depth": ("common", "later"),
}
"""Each with the parts that are put before it."""
_LINGER_MS = LINGER // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Popped:
    """One answer of `pop`."""

    token: str
    hints: list[tuple[str, str]]
    """(merchant, job) pairs, 32 hex digits each, at most as many as asked for."""
    look_again_seconds: float | None
    """When there may be more to pop; None: nothing is known to come."""
    left: int
    """How many hints are left in all."""
    to_come: int
    """How many of them are not due yet."""
    must_rebuild: bool
    """The set was emptied from outside, and nobody is at it: fill it from PostgreSQL."""
    being_filled: bool
    """It was, and somebody is at it."""
    has_more: bool
    """PostgreSQL holds jobs inside the horizon that found no room; they are due later than those in the set."""
    has_more_light: bool
    """Some of that is not of the merchants whose backlogs are heavy."""
    unknown_merchants: list[UUID]
    """Merchants that were passed over because nobody has said their terms: say them and pop again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How much waits, and who is awake to do it."""

    due: int
    size: int
    executors: int


class Filled(NamedTuple):
    """What became of hints."""

    must_invoke: bool
    """No executor is awake, and something is due before the next tick."""
    left_out: int
    """How many of them found no room, or at least some of so many: 0 means that all are in."""


class Progress(NamedTuple):
    """How far the set is filled. Of all that falls due within the horizon these are missing, and all behind them:"""

    cursor: Place | None = None
    """Where the last filling stopped for want of room; None: it did not."""
    left_out_from: Place | None = None
    """The first that was announced since and found no room, or lost it."""
    light: Place | None = None
    """Where it stopped reading what is not of `heavy` merchants, which it passes over from `cursor` on."""
    heavy: tuple[UUID, ...] = ()
    has_bundles: bool = False
    """Some of what is before `cursor` is in bundles: it must not be filled again unless all of it is."""


class Arrival(StrEnum):
    """What an executor that was just invoked is told."""

    NEEDED = "needed"
    IDLE = "idle"
    """Nothing falls due before the next tick."""
    ENOUGH = "enough"
    """Those awake are enough for what is due."""
    BLIND = "blind"
    """Redis is away and could not be asked; PostgreSQL has something that is due."""


class _Source(StrEnum):
    """Where hints come from, as announce.lua names it."""

    ANNOUNCED = "announced"
    FILLING = "filling"
    FILLING_ANEW = "filling anew"
    BESIDE = "beside"


class ReadySet(RedisConnection):
    """All raise QueueUnavailableError when Redis does not answer in time."""

    def __init__(self, url: Secret, *, timeout_seconds: float, most: int, base_key: str = BASE_KEY) -> None:
        """`url` as of `RedisConnection`; `most`: the room."""
        super().__init__(url, timeout_seconds=timeout_seconds, scripts=_sources, wakes_on=f"{base_key}:wake")
        self._most = most
        self._base = base_key

    @classmethod
    def connect(cls, settings: QueueSettings) -> "ReadySet":
        """As the settings say. Nothing is connected yet. Raises ValueError for a URL that is none."""
        url = secret_of(settings.redis_url, settings.redis_secret_arn, settings)
        if settings.redis_url is not None:
            redis.Redis.from_url(settings.redis_url.get_secret_value()).close()  # a mistake is told at once
        return cls(url, timeout_seconds=settings.redis_timeout_seconds, most=settings.ready_set_max)

    def announce(self, now: datetime, hints: Sequence[Hint]) -> bool:
        """Add hints, wake a sleeping executor. True: none is awake, and it is due before the next tick; invoke one.

        A full set keeps what is due first: for that, what is due last goes out. Something due already is left out only
        where the backlog of its merchant takes `ROOM_SHARE` times what all backlogs leave; and of that backlog, what
        comes last in its queue. Where something to come is missing, nothing that is due later is taken in until a
        filling has brought it.
        """
        return self.send(announcement(now, hints))

    def send(self, prepared: Announcement) -> bool:
        """As `announce`."""
        return self._add(prepared, _Source.ANNOUNCED).must_invoke

    def begin(self, prepared: Announcement) -> Callable[[], bool]:
        """Send `prepared`, of one page, and do not wait; what is answered waits, and answers as `send`.

        It must be called, before anything else is asked of this set.
        """
        with self._translated():
            client: Any = self._redis  # redis-py says nothing of these methods' types
            connection: Any = client.connection
            if connection is None:  # the client has one of its own as long as it is open
                return partial(self.send, prepared)
            announce = self._scripts["announce"]
            arguments = [prepared.now_ms, self._most, _LINGER_MS, _Source.ANNOUNCED, *prepared.pages[0]]
            try:
                connection.send_command("EVALSHA", announce.sha, 1, self._base, *arguments)
            except redis.ConnectionError:
                connection.disconnect()
                return partial(self.send, prepared)
        return partial(self._end, client, connection, prepared)

    def _end(self, client: Any, connection: Any, prepared: Announcement) -> bool:
        with self._translated():
            try:
                must_invoke, _ = client.parse_response(connection, "EVALSHA")
            except redis.TimeoutError:
                connection.disconnect()
                raise
            except (redis.ConnectionError, redis.exceptions.NoScriptError):
                # It was restarted, or has forgotten the script; the long way says it again.
                connection.disconnect()
                return self.send(prepared)
        return bool(must_invoke)

    def fill(self, now: datetime, groups: Sequence[HintGroup], *, anew: bool = False) -> Filled:
        """As `announce`, for a backlog in the order of due times: it leaves room for what is announced.

        What is due of it goes in in bundles, which must not be in the set already. `anew`: this is the first page of
        all there is, so what fillings have bundled before goes out; if there was any, the set is not whole until
        `mark_filled`. The caller says there where it had to stop.
        """
        prepared = announcement_of_groups(now, groups, bundled=True)
        return self._add(prepared, _Source.FILLING, first=_Source.FILLING_ANEW if anew else None)

    def fill_beside(self, now: datetime, groups: Sequence[HintGroup]) -> Filled:
        """As `fill`, for what is no backlog: it may take the room that is left, and is not bundled."""
        return self._add(announcement_of_groups(now, groups), _Source.BESIDE)

    def _run(self, name: str, args: list[Any]) -> Any:
        client = self._redis  # makes the scripts too
        return self._scripts[name](keys=[self._base], args=args, client=client)

    def _add(self, prepared: Announcement, source: "_Source", *, first: "_Source | None" = None) -> Filled:
        """`first`: where the first page comes from, if not from `source` as well."""
        must_invoke, left_out, comes_from = False, 0, first or source
        with self._translated():
            for page in prepared.pages:
                arguments = [prepared.now_ms, self._most, _LINGER_MS, comes_from, *page]
                invoke, without_room = self._run("announce", arguments)
                must_invoke, left_out, comes_from = must_invoke or bool(invoke), left_out + without_room, source
        return Filled(must_invoke, left_out)

    def announce_cancelled(self, now: datetime, job_ids: Iterable[UUID]) -> None:
        """Tell executors to cut these jobs' deliveries off. A lost message costs a heartbeat, no more."""
        stamped: dict[str, float] = {job_id.hex: milliseconds(now) for job_id in job_ids}
        if not stamped:
            return
        with self._pipeline() as pipe:
            pipe.zadd(f"{self._base}:cancelled", stamped)
            pipe.zremrangebyscore(f"{self._base}:cancelled", "-inf", milliseconds(now) - CANCELLED_KEPT_SECONDS * 1_000)
            pipe.expire(f"{self._base}:cancelled", CANCELLED_KEPT_SECONDS)

    def cancelled_since(self, moment: datetime, *, most: int = 1_000) -> list[UUID]:
        """Jobs cancelled at or after `moment`."""
        with self._translated():
            found: list[Any] = self._redis.zrangebyscore(
                f"{self._base}:cancelled", milliseconds(moment), "+inf", 0, most
            )
        return [UUID(hex=member.decode()) for member in found]

    def pop(
        self,
        now: datetime,
        *,
        executor: str,
        token: str,
        most: int,
        lead: timedelta = timedelta(),
        hold: timedelta = timedelta(seconds=30),
        done: Sequence[str] = (),
        most_each: int | None = None,
        allowances: Mapping[int, int] = MappingProxyType({}),
    ) -> Popped:
        """Take up to `most` hints that are due by `now + lead`, fairly, and count `executor` as awake.

        The batch comes back to the set after `VISIBILITY_SECONDS` unless its `token` is among the `done` of a later
        call. `hold` is how long a place under a merchant's concurrency limit is kept without being held again.
        No merchant gets more than `most_each` (None: no matter), or than its own allowance where it has one; merchants'
        ids are numbers there.
        """
        args: list[Any] = [
            milliseconds(now),
            lead // timedelta(milliseconds=1),
            most,
            executor,
            token,
            round(VISIBILITY_SECONDS * 1_000),
            hold // timedelta(milliseconds=1),
            self._most,
            len(done),
            *done,
            most if most_each is None else most_each,
            *(word for merchant, allowed in allowances.items() for word in (f"{merchant:032x}", allowed)),
        ]
        with self._heard():  # those who count as awake are believed to listen
            members, look_again_ms, left, to_come, missing, more, light, unknown = self._run("pop", args)
        return Popped(
            token=token,
            hints=[
                (member[:32], member[at : at + 32])
                for member in members.decode().split()
                for at in range(32, len(member) - 32, 32)
            ],
            look_again_seconds=None if look_again_ms < 0 else look_again_ms / 1_000,
            left=left,
            to_come=to_come,
            must_rebuild=missing == 1,
            being_filled=missing == 2,
            has_more=bool(more),
            has_more_light=bool(light),
            unknown_merchants=[UUID(hex=merchant.decode()) for merchant in unknown],
        )

    def merchants_due_by(self, until: datetime, *, most: int) -> list[UUID]:
        """Merchants of whom something that is to come is due by `until`, the soonest first."""
        with self._translated():
            found: list[Any] = self._redis.zrangebyscore(f"{self._base}:heads", "-inf", milliseconds(until), 0, most)
        return [UUID(hex=merchant.decode()) for merchant in found]

    def finish(self, tokens: Sequence[str]) -> None:
        """These batches have been dealt with; the last word of an executor that pops no more."""
        if not tokens:
            return
        with self._pipeline() as pipe:
            pipe.hdel(f"{self._base}:popped", *tokens)
            pipe.zrem(f"{self._base}:popped_until", *tokens)

    def sleep(self, seconds: float) -> None:
        """Wait up to `seconds` (at most 1), or until something is announced that is due earlier than all the rest,
        or whose merchant had nothing ready.

        Listens on a subscription and times itself: Redis ends a blocking pop at its own next tick, up to 0.1 s late.
        However much was announced meanwhile, it wakes once.
        """
        with self._heard() as ears:
            if ears.get_message(timeout=min(seconds, 1.0)) is not None:
                while ears.get_message(timeout=0) is not None:
                    pass

    def newcomer_heard(self) -> bool:
        """Whether a merchant that had nothing ready got something since the last look or sleep. Does not wait."""
        heard = False
        with self._heard() as ears:
            while (message := ears.get_message(timeout=0)) is not None:
                heard |= message["data"] == _NEWCOMER
        return heard

    def arrive(self, now: datetime, *, executor: str, jobs_per_executor: int, ticked: bool) -> Arrival:
        """Whether an executor that was just invoked has work; if so it counts as awake from now on, as after a pop.

        `ticked`: a schedule brought it, so that another tick is to be expected within a minute.
        """
        ticked_for = round(TICK_KNOWN_SECONDS * 1_000) if ticked else 0
        args: list[str | float] = [milliseconds(now), _LINGER_MS, executor, jobs_per_executor, ticked_for]
        with self._translated():
            arrival = Arrival(self._run("arrive", args).decode())
        if arrival is Arrival.NEEDED:
            with self._heard():
                pass  # those who count as awake are believed to listen
        return arrival

    def leave(self, now: datetime, *, executor: str, jobs_per_executor: int) -> bool:
        """Whether `executor`, which holds nothing, may end; if so it no longer counts as awake.

        It may when the set is whole and nothing falls due before the next tick, or when those who stay are enough for
        what is due.
        """
        args: list[str | float] = [milliseconds(now), _LINGER_MS, executor, jobs_per_executor]
        with self._translated():
            return bool(self._run("leave", args))

    def retire(self, executor: str) -> None:
        """`executor` ends whatever there is to do."""
        with self._translated():
            self._redis.zrem(f"{self._base}:executors", executor)

    def depth(self, now: datetime) -> Depth:
        """How much waits, and who is awake."""
        with self._translated():
            due, size, executors = self._run("depth", [milliseconds(now)])
        return Depth(due=due, size=size, executors=executors)

    def set_terms(self, terms: Iterable[tuple[MerchantLimits, bool]]) -> None:
        """Say what merchants' limits are and whether they are active; known for a minute."""
        with self._pipeline() as pipe:
            for limits, active in terms:
                key = f"{self._base}:terms:{limits.merchant_id.hex}"
                pipe.hset(
                    key,
                    mapping={
                        "weight": limits.weight,
                        "max_concurrency": "" if limits.max_concurrency is None else limits.max_concurrency,
                        "rate": "" if limits.rate_limit_per_second is None else limits.rate_limit_per_second,
                        "active": int(active),
                    },
                )
                pipe.expire(key, TERMS_SECONDS)

    def hold(self, now: datetime, held: Iterable[tuple[str, str]], *, for_seconds: float) -> None:
        """Keep places under concurrency limits for (merchant, job) pairs, in hex, that are still being delivered."""
        until = milliseconds(now) + for_seconds * 1_000
        with self._pipeline() as pipe:
            for merchant_hex, job_hex in held:
                pipe.zadd(f"{self._base}:held:{merchant_hex}", {job_hex: until}, xx=True)

    def release(self, held: Iterable[tuple[str, str]]) -> None:
        """Give places under concurrency limits back: (merchant, job) pairs, in hex."""
        with self._pipeline() as pipe:
            for merchant_hex, job_hex in held:
                pipe.zrem(f"{self._base}:held:{merchant_hex}", job_hex)

    def mark_filled(self, now: datetime, progress: Progress, *, whole: bool = True) -> None:
        """The set has been filled so far. Of `progress` what was left out does not matter: it is known here.

        `whole`: from the start, so that nothing is missing before that. Else it is as incomplete as it was.
        """
        places = [place.due_at for place in (progress.cursor, progress.light) if place and place.due_at > now]
        filled_until = f"{self._base}:filled_until"
        with self._pipeline(transaction=True) as pipe:
            if places:  # behind a backlog that is due already there is no gap for announcements to fill
                pipe.set(filled_until, milliseconds(min(places)), ex=PROGRESS_KEPT_SECONDS)
            else:
                pipe.delete(filled_until)
            if whole:
                pipe.set(f"{self._base}:epoch", "1")
            pipe.delete(f"{self._base}:heavy")
            if progress.heavy:
                pipe.sadd(f"{self._base}:heavy", *(merchant.hex for merchant in progress.heavy))
            if progress.cursor is None:
                pipe.delete(f"{self._base}:more")
            else:
                pipe.set(f"{self._base}:more", "1")
            for name, place in (("cursor", progress.cursor), ("light", progress.light)):
                if place is None:
                    pipe.delete(f"{self._base}:{name}")
                else:
                    pipe.set(
                        f"{self._base}:{name}",
                        f"{place.due_at.isoformat()} {place.job_id.hex}",
                        ex=PROGRESS_KEPT_SECONDS,
                    )

    def mark_incomplete(self) -> None:
        """A hint was lost: whoever comes next fills the set from PostgreSQL, and who is at it does so once more.

        Wakes sleepers.
        """
        with self._pipeline(transaction=True) as pipe:
            self._lose(pipe)

    def distrust(self, now: datetime, *, seconds: float) -> None:
        """As `mark_incomplete`, and once more after `seconds`: until then others may lose hints."""
        with self._pipeline(transaction=True) as pipe:
            self._lose(pipe)
            pipe.set(f"{self._base}:doubt", milliseconds(now) + round(seconds * 1_000), ex=DOUBT_KEPT_SECONDS)

    def _lose(self, pipe: Pipeline) -> None:
        pipe.delete(f"{self._base}:epoch")
        pipe.incr(f"{self._base}:losses")
        pipe.publish(f"{self._base}:wake", "lost")

    def is_whole(self) -> bool:
        """Whether it was filled from the start, and nothing was lost since."""
        with self._translated():
            return bool(self._redis.exists(f"{self._base}:epoch"))

    def resume(self) -> Progress:
        """How far the set is filled. What was left out is forgotten: whoever asks sees to it.

        Until `mark_filled` announcements are taken in whatever is missing before them.
        """
        with self._translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.get(f"{self._base}:cursor")
            pipe.getdel(f"{self._base}:left_out_from")
            pipe.getdel(f"{self._base}:turned_away_from")
            pipe.get(f"{self._base}:light")
            pipe.smembers(f"{self._base}:heavy")
            pipe.exists(f"{self._base}:bundled")
            pipe.delete(f"{self._base}:filled_until")
            cursor, left_out, turned_away, light, heavy, bundled, _ = pipe.execute()
        missing = [int(moment) for moment in (left_out, turned_away) if moment is not None]
        return Progress(
            cursor=_place(cursor),
            # In milliseconds, rounded up.
            left_out_from=Place(from_milliseconds(min(missing) - 1), UUID(int=0)) if missing else None,
            light=_place(light),
            heavy=tuple(UUID(hex=merchant.decode()) for merchant in heavy),
            has_bundles=bool(bundled),
        )

    def begin_filling(self, holder: str, *, seconds: float) -> int | None:
        """Be the only one who fills the set, for `seconds`: how often a hint was lost so far; None: somebody else is.

        It is a duty, `refill`, which `keep_duty` prolongs.
        """
        return self._take_duty("refill", holder, seconds)

    def end_filling(self, holder: str, losses: int) -> bool:
        """Fill no more; False: a hint was lost since it began, when there were `losses`, or Redis was emptied, or
        `holder` was not at it any more, for its time was out."""
        kept, losses_now = self._leave_duty("refill", holder)
        return kept and losses_now == losses

    def take_duty(self, duty: str, holder: str, *, seconds: float) -> bool:
        """Become, or stay, the only one on `duty` for `seconds`."""
        return self._take_duty(duty, holder, seconds) is not None

    def keep_duty(self, duty: str, holder: str, *, seconds: float) -> bool:
        """Stay on `duty` for `seconds`; False: `holder` is not on it any more, and does not get it back by this."""
        key = f"{self._base}:duty:{duty}"
        with self._translated():
            kept = self._redis.get(key) == holder.encode()
            return kept and bool(self._redis.pexpire(key, round(seconds * 1_000)))

    def leave_duty(self, duty: str, holder: str) -> bool:
        """Stop being on `duty`; False: `holder` was not on it any more, for its time was out or Redis was emptied."""
        return self._leave_duty(duty, holder)[0]

    def _take_duty(self, duty: str, holder: str, seconds: float) -> int | None:
        """How often a hint was lost so far; None: another is on it."""
        key = f"{self._base}:duty:{duty}"
        with self._translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.set(key, holder, nx=True, px=round(seconds * 1_000))
            pipe.get(key)
            pipe.get(f"{self._base}:losses")
            is_new, on_duty, losses = pipe.execute()
        if on_duty != holder.encode():
            return None
        if not is_new:
            self.keep_duty(duty, holder, seconds=seconds)
        return int(losses or 0)

    def _leave_duty(self, duty: str, holder: str) -> tuple[bool, int]:
        """Whether it was `holder`'s until now, and how often a hint was lost so far."""
        key = f"{self._base}:duty:{duty}"
        with self._translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.get(key)
            pipe.get(f"{self._base}:losses")
            on_duty, losses = pipe.execute()
            kept = on_duty == holder.encode() and bool(self._redis.delete(key))
        return kept, int(losses or 0)

    def on_duty(self, duty: str) -> bool:
        """Whether anyone is on `duty`."""
        with self._translated():
            return bool(self._redis.exists(f"{self._base}:duty:{duty}"))

    def ping(self) -> None:
        """Answers if Redis does, and takes what it is told: one that is full or a replica is of no use."""
        with self._translated():
            self._redis.set(f"{self._base}:ping", "", px=1_000)

    def eviction_policy(self) -> str | None:
        """Redis' `maxmemory-policy`, which should be `noeviction`; None where it will not say."""
        with self._translated():
            try:
                answer = self._redis.config_get("maxmemory-policy")
            except redis.ResponseError:
                return None
        return str(answer.get("maxmemory-policy")) if answer else None


def _place(value: bytes | None) -> Place | None:
    if value is None:
        return None
    moment, job_hex = value.decode().split(" ")
    return Place(datetime.fromisoformat(moment), UUID(hex=job_hex))


def _sources() -> Mapping[str, str]:
    return {name: _source(name) for name in _SCRIPTS}


def _source(name: str) -> str:
    folder = files(__package__).joinpath("lua")
    parts = [folder.joinpath(f"{each}.lua").read_text(encoding="utf-8") for each in (*_SCRIPTS[name], name)]
    values = f"{PRIORITY_STEP}, {round(PRESENCE_SECONDS * 1_000)}, {ROOM_SHARE}"
    constants = f"local PRIORITY_STEP, PRESENCE_MS, ROOM_SHARE = {values}\n"
    return "".join([constants, *parts])
