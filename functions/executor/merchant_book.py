"""What an executor knows of merchants: their limits and their signers, looked up once a minute.

An invocation opens the book where the one before it in the same process left it: at midnight thousands are in it.
"""

from collections.abc import Iterable, MutableMapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from scheduler_core.domain.jobs import MerchantLimits
from scheduler_core.security.signing import Signer, signing_secrets
from scheduler_core.storage.claims import MerchantTerms, merchant_terms
from scheduler_core.storage.database import Database

KNOWN_FOR = timedelta(seconds=60)
MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One merchant."""

    terms: MerchantTerms
    of_each_parcel: tuple[tuple[Signer, ...], tuple[str, ...], int]
    """What each has beside its job: signers, the ARNs allowed, the weight."""
    looked_up_at: datetime

    @property
    def is_limited(self) -> bool:
        """Its places in the ready set have to be given back."""
        return self.terms.limits.max_concurrency is not None


class MerchantBook:
    """For one thread, but for `limited_merchants`. What is known, now and later, is in `entries`."""

    def __init__(self, database: Database, signing_key: bytes, entries: MutableMapping[UUID, Entry]) -> None:
        self._database = database
        self._signing_key = signing_key
        self._entries = entries
        self._limited = frozenset(each for each, entry in [*entries.items()] if entry.is_limited)

    def entries(self, now: datetime, merchant_ids: Iterable[UUID]) -> dict[int, Entry]:
        """What is known of these merchants, by their ids' numbers; who is missing there is no merchant.

        Those to be looked up are looked up together: at midnight a batch may have as many merchants as jobs.
        """
        known: dict[int, Entry] = {}
        unknown: list[UUID] = []
        for merchant_id in merchant_ids:
            entry = self._entries.get(merchant_id)
            if entry is None or now - entry.looked_up_at > KNOWN_FOR:
                unknown.append(merchant_id)
            else:
                known[merchant_id.int] = entry
        if unknown:
            self.look_up(now, unknown)
            known |= {each.int: entry for each in unknown if (entry := self._entries.get(each)) is not None}
        return known

    def strangers(self, until: datetime, merchant_ids: Iterable[UUID]) -> list[UUID]:
        """Those of whom nothing will be known at `until` unless they are looked up."""
        entries = self._entries
        return [
            each
            for each in merchant_ids
            if (entry := entries.get(each)) is None or until - entry.looked_up_at > KNOWN_FOR
        ]

    def look_up(self, now: datetime, merchant_ids: Iterable[UUID]) -> list[tuple[MerchantLimits, bool]]:
        """Ask PostgreSQL; answers what the ready set must be told. A merchant that is not there is told as inactive."""
        wanted = list(merchant_ids)
        with self._database.transaction() as connection:
            found = merchant_terms(connection, wanted)
        limited = self._limited.difference(wanted)
        if len(self._entries) > MOST_KNOWN:
            self._entries.clear()
            limited = frozenset()
        for merchant_id, terms in found.items():
            secrets = signing_secrets(
                self._signing_key, merchant_id, terms.signing_key_version, terms.signing_key_rotated_at, now
            )
            signers = tuple(Signer(secret) for secret in secrets)
            self._entries[merchant_id] = Entry(
                terms=terms, of_each_parcel=(signers, terms.allowed_target_arns, terms.limits.weight), looked_up_at=now
            )
        # A new set each time: other threads look into it.
        self._limited = limited.union(merchant_id for merchant_id in found if self._entries[merchant_id].is_limited)
        absent = [merchant_id for merchant_id in wanted if merchant_id not in found]
        for merchant_id in absent:
            self._entries.pop(merchant_id, None)
        told = [(terms.limits, terms.active) for terms in found.values()]
        return told + [(MerchantLimits(merchant_id=merchant_id), False) for merchant_id in absent]

    def limited_merchants(self) -> AbstractSet[UUID]:
        """Those whose places in the ready set have to be given back."""
        return self._limited
