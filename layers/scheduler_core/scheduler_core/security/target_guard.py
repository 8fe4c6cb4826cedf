"""Refuses, when a job is made, a URL that leads where no delivery may go.

This is courtesy, so that the producer learns of it at once. What protects is the courier, which looks at every address
again at the moment of connecting; so a name that does not resolve here, or not in time, is let through.
"""

import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from queue import SimpleQueue
from typing import Any

from scheduler_core.clock import monotonic
from scheduler_core.domain.addresses import Address, Network, is_forbidden, refusal
from scheduler_core.domain.errors import TargetRefusedError
from scheduler_core.domain.hosts import Origin, parse_http_url

Resolve = Callable[..., Sequence[tuple[Any, ...]]]
_LOOPBACK = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "loopback"})
_UNKNOWN_TTL_SECONDS = 5.0
_origin = lru_cache(maxsize=1_024)(parse_http_url)


class TargetGuard:
    """Checks URLs against the address rules of `domain.addresses`; safe to use from several threads.

    `allowed`: the installation's exceptions. `lookup_seconds` bounds the DNS time of `check_url`, `batch_seconds`
    that of `check_urls`. What was found for a name is kept for `ttl_seconds`, for at most `cache_size` names.
    """

    def __init__(
        self,
        allowed: Sequence[Network],
        resolve: Resolve = socket.getaddrinfo,
        *,
        lookup_seconds: float = 1.0,
        batch_seconds: float = 2.0,
        ttl_seconds: float = 60.0,
        cache_size: int = 1_024,
        lookups_at_once: int = 16,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._allowed = tuple(allowed)
        self._lookup_seconds = lookup_seconds
        self._batch_seconds = batch_seconds
        self._verdicts = _Verdicts(ttl_seconds, cache_size, clock)
        self._lookups = _Lookups(resolve, lookups_at_once)
        self._clock = clock

    def check_url(self, url: str) -> None:
        """Raises TargetRefusedError, saying which address and why, if `url` is malformed or leads where it must not."""
        refused = self._refusals([url], self._lookup_seconds)[0]
        if refused is not None:
            raise refused

    def check_urls(self, urls: Iterable[str]) -> list[TargetRefusedError | None]:
        """The refusal of each URL, None where it is fine, in the order given. Names are looked up side by side."""
        return self._refusals(list(urls), self._batch_seconds)

    def _refusals(self, urls: list[str], seconds: float) -> list[TargetRefusedError | None]:
        found: dict[str, str | None] = {}
        names: dict[str, str] = {}
        for url in dict.fromkeys(urls):
            try:
                origin = _origin(url)
            except ValueError as error:
                found[url] = str(error)
                continue
            host = origin.host
            if isinstance(host, str) and not _is_local(host):
                names[url] = host
            else:
                found[url] = self._refusal_at_sight(origin)
        by_name = self._look_up(dict.fromkeys(names.values()), seconds)
        found.update((url, by_name[name]) for url, name in names.items())
        return [None if (text := found[url]) is None else TargetRefusedError(text) for url in urls]

    def _refusal_at_sight(self, origin: Origin) -> str | None:
        if isinstance(origin.host, str):
            if all(is_forbidden(address, self._allowed) for address in _LOOPBACK):
                return f"{origin.host} is not an allowed address (loopback)"
            return None
        return refusal(origin.host, self._allowed)

    def _look_up(self, names: Iterable[str], seconds: float) -> dict[str, str | None]:
        known: dict[str, str | None] = {}
        asked: dict[str, Future[list[Address]]] = {}
        for name in names:
            cached, verdict = self._verdicts.get(name)
            if cached:
                known[name] = verdict
            else:
                asked[name] = self._lookups.start(name)
        deadline = self._clock() + seconds
        for name, lookup in asked.items():
            known[name] = self._verdict(name, lookup, max(0.0, deadline - self._clock()))
        return known

    def _verdict(self, name: str, lookup: Future[list[Address]], seconds: float) -> str | None:
        try:
            addresses = lookup.result(seconds)
        except (OSError, UnicodeError, TimeoutError):
            self._verdicts.put(name, None, known=False)
            return None
        refusals = (refusal(address, self._allowed) for address in addresses)
        text = next((f"{name} leads to {said}" for said in refusals if said), None)
        if text is not None:
            text = text.replace(" is not", ", which is not", 1)
        self._verdicts.put(name, text, known=True)
        return text


def _is_local(name: str) -> bool:
    return name in _LOCAL_NAMES or name.endswith((".localhost", ".localhost.localdomain"))


class _Verdicts:
    """A bounded memory of names: the one unused for longest goes first; one that did not resolve is soon forgotten."""

    def __init__(self, ttl_seconds: float, size: int, clock: Callable[[], float]) -> None:
        self._ttl_seconds = ttl_seconds
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, str | None]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> tuple[bool, str | None]:
        """Whether the name is remembered, and its refusal."""
        with self._lock:
            until, verdict = self._entries.get(name, (float("-inf"), None))
            if until <= self._clock():
                return False, None
            self._entries.move_to_end(name)
            return True, verdict

    def put(self, name: str, verdict: str | None, *, known: bool) -> None:
        ttl = self._ttl_seconds if known else min(self._ttl_seconds, _UNKNOWN_TTL_SECONDS)
        with self._lock:
            self._entries[name] = (self._clock() + ttl, verdict)
            self._entries.move_to_end(name)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)


class _Lookups:
    """DNS look-ups in daemon threads: getaddrinfo cannot be interrupted, so nobody waits for one that hangs.

    Look-ups of one name that overlap are one look-up. When all threads hang, later names wait in the queue and their
    askers give up: bounded, because each name is queued once and the queue holds at most `_QUEUE_MAX`.
    """

    _QUEUE_MAX = 10_000

    def __init__(self, resolve: Resolve, threads: int) -> None:
        self._resolve = resolve
        self._threads = threads
        self._started = 0
        self._waiting: SimpleQueue[str] = SimpleQueue()
        self._pending: dict[str, Future[list[Address]]] = {}
        self._lock = threading.Lock()

    def start(self, name: str) -> Future[list[Address]]:
        """A look-up of `name`, under way or new."""
        with self._lock:
            if (running := self._pending.get(name)) is not None:
                return running
            lookup: Future[list[Address]] = Future()
            if len(self._pending) >= self._QUEUE_MAX:
                lookup.set_exception(TimeoutError("too many look-ups are waiting"))
                return lookup
            self._pending[name] = lookup
            if self._started < min(self._threads, len(self._pending)):
                self._started += 1
                threading.Thread(target=self._work, name=f"dns-{self._started}", daemon=True).start()
        self._waiting.put(name)
        return lookup

    def _work(self) -> None:
        while True:
            name = self._waiting.get()
            try:
                answers = self._resolve(name, None, type=socket.SOCK_STREAM)
                addresses = [ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers]
            except Exception as error:  # noqa: BLE001 - whatever a resolver raises is its caller's to judge
                self._pending.pop(name).set_exception(error if isinstance(error, OSError) else OSError(str(error)))
            else:
                self._pending.pop(name).set_result(addresses)
