"""How much of an executor one merchant may fill, and whose turn it is.

The dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998): a merchant may hold up to `SHARE` times the
room that is left. One alone fills three quarters; each that joins with slow targets gets a smaller part of the rest,
and there is always some room for the next.
"""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from itertools import count

SHARE = 3


def allowance(held: int, room: int) -> int:
    """How many more jobs a merchant may take that holds `held`, when there is `room` for so many."""
    return max(0, (SHARE * room - held) // (SHARE + 1))


@dataclass(slots=True, kw_only=True)
class _Queue[K, T]:
    owner: K
    weight: int
    things: deque[T] = field(default_factory=deque)


class Turns[K: Hashable, T]:
    """Things that wait, taken from their owners in turn by weight; those of one owner in the order they came.

    Stride scheduling, as in the ready set: the owner with the lowest pass is next, and its pass grows by 1/weight for
    each thing taken. One who comes begins where the others are, so that nobody gains by having had nothing to wait for.
    """

    def __init__(self) -> None:
        self._queues: dict[K, _Queue[K, T]] = {}
        self._order: list[tuple[float, int, _Queue[K, T]]] = []
        self._pass = 0.0
        self._count = 0
        self._serial = count()

    def __len__(self) -> int:
        return self._count

    def add(self, owner: K, thing: T, *, weight: int = 1) -> None:
        """`thing` waits from now on; `weight`, at least 1, is the owner's from now on."""
        queue = self._queues.get(owner)
        if queue is None:
            queue = self._queues[owner] = _Queue(owner=owner, weight=weight)
            heappush(self._order, (self._pass, next(self._serial), queue))
        queue.things.append(thing)
        queue.weight = weight
        self._count += 1

    def take(self) -> T:
        """The next thing. Raises IndexError if nothing waits."""
        self._pass, _, queue = self._order[0]
        thing = queue.things.popleft()
        self._count -= 1
        if queue.things:
            heapreplace(self._order, (self._pass + 1 / queue.weight, next(self._serial), queue))
        else:
            heappop(self._order)
            del self._queues[queue.owner]
        return thing

    def remove(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Take the unwanted out of turn; the others keep their places."""
        removed: list[T] = []
        for queue in self._queues.values():
            gone = [thing for thing in queue.things if unwanted(thing)]
            if gone:
                removed += gone
                queue.things = deque(thing for thing in queue.things if not unwanted(thing))
        if removed:
            self._count -= len(removed)
            self._queues = {owner: queue for owner, queue in self._queues.items() if queue.things}
            self._order = sorted(entry for entry in self._order if entry[2].things)
        return removed
