"""What is said to the ready set of jobs: pages of hints in the form that `announce.lua` takes.

Pure, and made apart from sending it: the API prepares it while PostgreSQL stores the jobs.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from scheduler_core.domain.ids import milliseconds, milliseconds_up
from scheduler_core.domain.jobs import Hint, HintGroup

ANNOUNCE_PAGE: Final = 1_000
PRIORITY_STEP: Final = 1 << 42
"""Above every due time in milliseconds, so that priority outweighs it in a queue's scores."""
BUNDLE_LEAST: Final = 8
"""Where a filling brings at least so many due jobs of one merchant and priority at once, they are bundled."""
BUNDLE_MOST: Final = 128
"""So many at most: within a bundle they go by when it was filled, whatever is announced meanwhile."""


class Announcement(NamedTuple):
    """Hints as announce.lua wants them.

    A page is of at least one and at most `ANNOUNCE_PAGE` hints: when the earliest is due in milliseconds, then for each
    merchant its id (32 hex digits), the entries of its queue, which are due by `now_ms`, and its entries to come.
    Entries are JSON, `["score", "member", "score", "member", ...]`; in a queue a member may be a bundle.
    """

    now_ms: int
    pages: list[list[int | str]]


def announcement(now: datetime, hints: Sequence[Hint]) -> Announcement:
    """What there is to say of `hints` at `now`; what is due then is ready, the rest is to come."""
    now_ms = milliseconds(now)
    starts = range(0, len(hints), ANNOUNCE_PAGE)
    return Announcement(now_ms, [_page(now_ms, hints[start : start + ANNOUNCE_PAGE]) for start in starts])


def announcement_of_groups(now: datetime, groups: Sequence[HintGroup], *, bundled: bool = False) -> Announcement:
    """The same of hints in groups. `bundled`: many that are due are one entry, which costs as little as one hint."""
    now_ms = milliseconds(now)
    return Announcement(now_ms, [_page_of_groups(now_ms, page, bundled=bundled) for page in _paged(groups)])


def _paged(groups: Sequence[HintGroup]) -> Iterator[list[HintGroup]]:
    page: list[HintGroup] = []
    room = ANNOUNCE_PAGE
    for group in groups:
        start, count = 0, len(group.job_ids)
        while start < count:
            end = min(count, start + room)
            page.append(group.part(start, end))
            room -= end - start
            start = end
            if not room:
                yield page
                page, room = [], ANNOUNCE_PAGE
    if page:
        yield page


def _page(now_ms: int, hints: Sequence[Hint]) -> list[int | str]:
    merchants: dict[int, tuple[str, list[str], list[str]]] = {}
    last, due = hints[0].due_at, milliseconds_up(hints[0].due_at)
    earliest = due
    for merchant_id, job_id, due_at, priority in hints:
        if due_at != last:
            last, due = due_at, milliseconds_up(due_at)
            earliest = min(earliest, due)
        number = merchant_id.int  # to hash an id itself is slow
        entries = merchants.get(number)
        if entries is None:
            entries = merchants[number] = (merchant_id.hex, [], [])
        merchant_hex, ready, later = entries
        member = f"{merchant_hex}{job_id.int.to_bytes(16).hex()}:{priority}"
        if due > now_ms:
            later.append(f'{due}","{member}')
        else:
            ready.append(f'{(100 - priority) * PRIORITY_STEP + due}","{member}')
    return _said(earliest, merchants.values())


def _page_of_groups(now_ms: int, groups: Sequence[HintGroup], *, bundled: bool) -> list[int | str]:
    merchants: dict[int, tuple[str, list[str], list[str]]] = {}
    for merchant_id, priority, jobs, dues in groups:
        merchant_hex, ready, later = merchants.setdefault(merchant_id.int, (merchant_id.hex, [], []))
        start, count, above = 0, bisect_right(dues, now_ms), (100 - priority) * PRIORITY_STEP
        while bundled and count - start >= BUNDLE_LEAST:
            end = min(count, start + BUNDLE_MOST)
            ready.append(f'{above + dues[start]}","{merchant_hex}{"".join(jobs[start:end])}:{priority}')
            start = end
        ready += [f'{above + dues[at]}","{merchant_hex}{jobs[at]}:{priority}' for at in range(start, count)]
        later += [f'{dues[at]}","{merchant_hex}{jobs[at]}:{priority}' for at in range(count, len(dues))]
    return _said(min(group.due_ms[0] for group in groups), merchants.values())


def _said(earliest: int, merchants: Iterable[tuple[str, list[str], list[str]]]) -> list[int | str]:
    page: list[int | str] = [earliest]
    for merchant_hex, ready, later in merchants:
        page += (merchant_hex, _json(ready), _json(later))
    return page


def _json(pairs: Sequence[str]) -> str:
    """By hand, because nothing in them needs to be escaped."""
    return f'["{'","'.join(pairs)}"]' if pairs else "[]"
