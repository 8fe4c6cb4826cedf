"""The ready set: which jobs fall due within the horizon, popped fairly across merchants.

Everything here is a hint (I2) and may vanish at any moment (I1). All keys share one hash tag, `{ts:0}`, so that a
cluster keeps a shard on one node; the `1` after it is the version of the layout. Needs Redis 6.2 or Valkey 7.2.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Self
from uuid import UUID

from scheduler_core.domain.errors import QueueUnavailableError
from scheduler_core.domain.ids import milliseconds, milliseconds_up
from scheduler_core.domain.jobs import Hint, MerchantLimits
from scheduler_core.domain.scaling import LINGER, TICK
from scheduler_core.kept_secrets import secret_of
from scheduler_core.queueing.redis_client import (
    Command,
    Connection,
    RedisAddress,
    RedisClient,
    RedisConnectionError,
    RedisReplyError,
    Script,
)
from scheduler_core.settings import QueueSettings

BASE_KEY = "{ts:0}:1"
ANNOUNCE_PAGE = 1_000
TERMS_SECONDS = 60
VISIBILITY_SECONDS = 5.0
PRESENCE_SECONDS = 5.0
CANCELLED_KEPT_SECONDS = 60
TICK_KNOWN_SECONDS = TICK.total_seconds() + 5.0
"""How long a tick promises another: one that is later than that has stopped, for all we know."""
_JOB_HEX = slice(32, 64)
_UNABLE = ("OOM", "READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "BUSY", "CLUSTERDOWN", "TRYAGAIN")
_LINGER_MS = LINGER // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Popped:
    """One answer of `pop`."""

    token: str
    hints: list[tuple[str, str]]
    """(merchant, job) pairs, 32 hex digits each, at most as many as asked for."""
    look_again_seconds: float | None
    """When there may be more to pop; None: nothing is known to come."""
    ready: int
    """How many due entries are left."""
    must_rebuild: bool
    """The set was emptied from outside: fill it from PostgreSQL."""
    has_more: bool
    """PostgreSQL holds due jobs that found no room."""
    unknown_merchants: list[UUID]
    """Merchants that were passed over because nobody has said their terms: say them and pop again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How much waits, and who is awake to do it."""

    due: int
    size: int
    executors: int


class Arrival(StrEnum):
    """What an executor that was just invoked is told."""

    NEEDED = "needed"
    IDLE = "idle"
    """Nothing falls due before the next tick."""
    ENOUGH = "enough"
    """Those awake are enough for what is due."""


class ReadySet:
    """All raise QueueUnavailableError when Redis does not answer in time."""

    def __init__(self, client: RedisClient, *, most: int, base_key: str = BASE_KEY) -> None:
        self._redis = client
        self._most = most
        self._base = base_key
        self._ears: Connection | None = None
        common = _script("common")
        self._announce = Script(client, common + _script("announce"))
        self._pop = Script(client, common + _script("pop"))
        self._arrive = Script(client, common + _script("arrive"))
        self._leave = Script(client, common + _script("leave"))
        self._depth = Script(client, common + _script("depth"))

    @classmethod
    def connect(cls, settings: QueueSettings) -> "ReadySet":
        """A client that gives up quickly: whoever waits for Redis has something better to do."""
        if settings.redis_url is not None:
            RedisAddress.parse(settings.redis_url.get_secret_value())  # a mistake is told at once
        client = RedisClient(
            secret_of(settings.redis_url, settings.redis_secret_arn, settings),
            connect_timeout=settings.redis_timeout_seconds,
            timeout=settings.redis_timeout_seconds + 1.0,
        )
        return cls(client, most=settings.ready_set_max)

    def announce(self, now: datetime, hints: Sequence[Hint]) -> bool:
        """Add hints, wake a sleeping executor. True: none is awake, and it is due before the next tick; invoke one."""
        must_invoke = False
        with _translated():
            for start in range(0, len(hints), ANNOUNCE_PAGE):
                args: list[Any] = [milliseconds(now), self._most, _LINGER_MS]
                for hint in hints[start : start + ANNOUNCE_PAGE]:
                    args += (milliseconds_up(hint.due_at), f"{hint.merchant_id.hex}{hint.job_id.hex}:{hint.priority}")
                invoke, _ = self._announce(self._base, args)
                must_invoke = must_invoke or bool(invoke)
        return must_invoke

    def announce_cancelled(self, now: datetime, job_ids: Iterable[UUID]) -> None:
        """Tell executors to cut these jobs' deliveries off. A lost message costs a heartbeat, no more."""
        stamps = [word for job_id in job_ids for word in (milliseconds(now), job_id.hex)]
        if not stamps:
            return
        key, before = f"{self._base}:cancelled", milliseconds(now) - CANCELLED_KEPT_SECONDS * 1_000
        with _translated():
            self._redis.pipeline(
                [
                    ("ZADD", key, *stamps),
                    ("ZREMRANGEBYSCORE", key, "-inf", before),
                    ("EXPIRE", key, CANCELLED_KEPT_SECONDS),
                ]
            )

    def cancelled_since(self, moment: datetime, *, most: int = 1_000) -> list[UUID]:
        """Jobs cancelled at or after `moment`."""
        with _translated():
            found: list[bytes] = self._redis.command(
                "ZRANGEBYSCORE", f"{self._base}:cancelled", milliseconds(moment), "+inf", "LIMIT", 0, most
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
        allowances: Mapping[UUID, int] = MappingProxyType({}),
    ) -> Popped:
        """Take up to `most` hints that are due by `now + lead`, fairly, and count `executor` as awake.

        The batch comes back to the set after `VISIBILITY_SECONDS` unless its `token` is among the `done` of a later
        call. `hold` is how long a place under a merchant's concurrency limit is kept without being held again.
        No merchant gets more than `most_each` (None: no matter), or than its own allowance where it has one.
        """
        args: list[Any] = [
            milliseconds(now),
            lead // timedelta(milliseconds=1),
            most,
            executor,
            round(PRESENCE_SECONDS * 1_000),
            token,
            round(VISIBILITY_SECONDS * 1_000),
            hold // timedelta(milliseconds=1),
            len(done),
            *done,
            most if most_each is None else most_each,
            *(word for merchant, allowed in allowances.items() for word in (merchant.hex, allowed)),
        ]
        with _translated():
            members, look_again_ms, ready, rebuild, more, unknown = self._pop(self._base, args, once=True)
        return Popped(
            token=token,
            hints=[(m[:32].decode(), m[_JOB_HEX].decode()) for m in members],
            look_again_seconds=None if look_again_ms < 0 else look_again_ms / 1_000,
            ready=ready,
            must_rebuild=bool(rebuild),
            has_more=bool(more),
            unknown_merchants=[UUID(hex=merchant.decode()) for merchant in unknown],
        )

    def finish(self, tokens: Sequence[str]) -> None:
        """These batches have been dealt with; the last word of an executor that pops no more."""
        if not tokens:
            return
        with _translated():
            self._redis.pipeline(
                [("HDEL", f"{self._base}:popped", *tokens), ("ZREM", f"{self._base}:popped_until", *tokens)]
            )

    def sleep(self, seconds: float) -> None:
        """Wait up to `seconds` (at most 1), or until something is announced that is due earlier than all the rest.

        Listens on a subscription and times itself: Redis ends a blocking pop at its own next tick, up to 0.1 s late.
        """
        with _translated():
            if self._ears is None:
                self._ears = self._redis.connect()
                self._ears.call([("SUBSCRIBE", f"{self._base}:wake")])
            try:
                self._ears.hears_within(min(seconds, 1.0))
            except RedisConnectionError:
                self._ears.close()
                self._ears = None
                raise

    def arrive(self, now: datetime, *, executor: str, jobs_per_executor: int, ticked: bool) -> Arrival:
        """Whether an executor that was just invoked has work; if so it counts as awake from now on, as after a pop.

        `ticked`: a schedule brought it, so that another tick is to be expected within a minute.
        """
        ticked_for = round(TICK_KNOWN_SECONDS * 1_000) if ticked else 0
        presence = round(PRESENCE_SECONDS * 1_000)
        args: list[str | float] = [milliseconds(now), _LINGER_MS, executor, presence, jobs_per_executor, ticked_for]
        with _translated():
            return Arrival(self._arrive(self._base, args).decode())

    def leave(self, now: datetime, *, executor: str, jobs_per_executor: int) -> bool:
        """Whether `executor`, which holds nothing, may end; if so it no longer counts as awake.

        It may when nothing falls due before the next tick, or when those who stay are enough for what is due.
        """
        args: list[str | float] = [milliseconds(now), _LINGER_MS, executor, jobs_per_executor]
        with _translated():
            return bool(self._leave(self._base, args))

    def retire(self, executor: str) -> None:
        """`executor` ends whatever there is to do."""
        with _translated():
            self._redis.command("ZREM", f"{self._base}:executors", executor)

    def depth(self, now: datetime) -> Depth:
        """How much waits, and who is awake."""
        with _translated():
            due, size, executors = self._depth(self._base, [milliseconds(now)])
        return Depth(due=due, size=size, executors=executors)

    def set_terms(self, terms: Iterable[tuple[MerchantLimits, bool]]) -> None:
        """Say what merchants' limits are and whether they are active; known for a minute."""
        commands: list[Command] = []
        for limits, active in terms:
            key = f"{self._base}:terms:{limits.merchant_id.hex}"
            most = "" if limits.max_concurrency is None else limits.max_concurrency
            rate = "" if limits.rate_limit_per_second is None else limits.rate_limit_per_second
            fields = ("weight", limits.weight, "max_concurrency", most, "rate", rate, "active", int(active))
            commands += [("HSET", key, *fields), ("EXPIRE", key, TERMS_SECONDS)]
        with _translated():
            self._redis.pipeline(commands)

    def hold(self, now: datetime, held: Iterable[tuple[str, str]], *, for_seconds: float) -> None:
        """Keep places under concurrency limits for (merchant, job) pairs, in hex, that are still being delivered."""
        until = milliseconds(now) + for_seconds * 1_000
        with _translated():
            self._redis.pipeline(
                [("ZADD", f"{self._base}:held:{merchant_hex}", "XX", until, job_hex) for merchant_hex, job_hex in held]
            )

    def release(self, held: Iterable[tuple[str, str]]) -> None:
        """Give places under concurrency limits back: (merchant, job) pairs, in hex."""
        with _translated():
            self._redis.pipeline(
                [("ZREM", f"{self._base}:held:{merchant_hex}", job_hex) for merchant_hex, job_hex in held]
            )

    def mark_filled(self, cursor: tuple[datetime, UUID] | None) -> None:
        """The set has been filled up to `cursor`; None: with everything inside the horizon."""
        epoch: Command = ("SET", f"{self._base}:epoch", "1")
        more, place = f"{self._base}:more", f"{self._base}:cursor"
        with _translated():
            if cursor is None:
                self._redis.transaction([epoch, ("DEL", more, place)])
            else:
                where = f"{cursor[0].isoformat()} {cursor[1].hex}"
                self._redis.transaction([epoch, ("SET", more, "1"), ("SET", place, where, "EX", 300)])

    def mark_incomplete(self) -> None:
        """A hint was lost: whoever comes next fills the set from PostgreSQL."""
        with _translated():
            self._redis.command("DEL", f"{self._base}:epoch")

    def cursor(self) -> tuple[datetime, UUID] | None:
        """Where the last filling stopped for want of room; None: it did not."""
        with _translated():
            value: bytes | None = self._redis.command("GET", f"{self._base}:cursor")
        if value is None:
            return None
        moment, job_hex = value.decode().split(" ")
        return datetime.fromisoformat(moment), UUID(hex=job_hex)

    def take_duty(self, duty: str, holder: str, *, seconds: float) -> bool:
        """Become, or stay, the only one on `duty` (`refill`, `watch`) for `seconds`."""
        key, milliseconds_held = f"{self._base}:duty:{duty}", round(seconds * 1_000)
        with _translated():
            if self._redis.command("SET", key, holder, "NX", "PX", milliseconds_held):
                return True
            if self._redis.command("GET", key) == holder.encode():
                self._redis.command("PEXPIRE", key, milliseconds_held)
                return True
        return False

    def leave_duty(self, duty: str, holder: str) -> None:
        """Stop being on `duty`."""
        key = f"{self._base}:duty:{duty}"
        with _translated():
            if self._redis.command("GET", key) == holder.encode():
                self._redis.command("DEL", key)

    def on_duty(self, duty: str) -> bool:
        """Whether anyone is on `duty`."""
        with _translated():
            return bool(self._redis.command("EXISTS", f"{self._base}:duty:{duty}"))

    def ping(self) -> None:
        """Answers if Redis does."""
        with _translated():
            self._redis.command("PING")

    def eviction_policy(self) -> str | None:
        """Redis' `maxmemory-policy`, which should be `noeviction`; None where it will not say."""
        with _translated():
            try:
                answer: list[bytes] = self._redis.command("CONFIG", "GET", "maxmemory-policy")
            except RedisReplyError:
                return None
        return answer[1].decode() if answer else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        if self._ears is not None:
            self._ears.close()
        self._redis.close()


def _script(name: str) -> str:
    return files(__package__).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RedisConnectionError as error:
        raise QueueUnavailableError(str(error)) from error
    except RedisReplyError as error:
        if str(error).startswith(_UNABLE):
            raise QueueUnavailableError(str(error)) from error
        raise
