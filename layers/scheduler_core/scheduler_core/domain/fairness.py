"""How much of an executor one merchant may fill, and whose turn it is.

The dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998): a merchant may hold up to `SHARE` times the
room that is left. One alone fills three quarters; each that joins with slow targets gets a smaller part of the rest,
and there is always some room for the next.
"""

from collections import deque
from collections.abc import Callable, Hashable
from heapq import heappop, heappush, heapreplace
from itertools import count

SHARE = 3


def allowance(held: int, room: int) -> int:
    """How many more jobs a merchant may take that holds `held`, when there is `room` for so many."""
    return max(0, (SHARE * room - held) // (SHARE + 1))


class Turns[K: Hashable, T]:
    """Things that wait, taken from their owners in turn by weight; those of one owner in the order they came.

    Stride scheduling, as in the ready set: the owner with the lowest pass is next, and its pass grows by 1/weight for
    each thing taken. One who comes begins where the others are, so that nobody gains by having had nothing to wait for.
    """

    def __init__(self) -> None:
        self._waiting: dict[K, deque[T]] = {}
        self._weights: dict[K, int] = {}
        self._order: list[tuple[float, int, K]] = []
        self._pass = 0.0
        self._count = 0
        self._serial = count()

    def __len__(self) -> int:
        return self._count

    def add(self, owner: K, thing: T, *, weight: int = 1) -> None:
        """`thing` waits from now on; `weight`, at least 1, is the owner's from now on."""
        waiting = self._waiting.get(owner)
        if waiting is None:
            waiting = self._waiting[owner] = deque()
            heappush(self._order, (self._pass, next(self._serial), owner))
        waiting.append(thing)
        self._weights[owner] = weight
        self._count += 1

    def take(self) -> T:
        """The next thing. Raises IndexError if nothing waits."""
        self._pass, _, owner = self._order[0]
        waiting = self._waiting[owner]
        thing = waiting.popleft()
        self._count -= 1
        if waiting:
            heapreplace(self._order, (self._pass + 1 / self._weights[owner], next(self._serial), owner))
        else:
            heappop(self._order)
            del self._waiting[owner], self._weights[owner]
        return thing

    def remove(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Take the unwanted out of turn; the others keep their places."""
        removed: list[T] = []
        for owner, waiting in self._waiting.items():
            gone = [thing for thing in waiting if unwanted(thing)]
            if gone:
                removed += gone
                self._waiting[owner] = deque(thing for thing in waiting if not unwanted(thing))
        self._count -= len(removed)
        emptied = {owner for owner, waiting in self._waiting.items() if not waiting}
        if emptied:
            for owner in emptied:
                del self._waiting[owner], self._weights[owner]
            self._order = sorted(entry for entry in self._order if entry[2] not in emptied)
        return removed
