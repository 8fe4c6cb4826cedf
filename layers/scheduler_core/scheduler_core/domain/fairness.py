"""How much of an executor one merchant may fill.

The dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998): a merchant may take more while it holds
less than `SHARE` times the room that is left. One alone fills three quarters; each that joins with slow targets gets
a smaller part of the rest, and there is always some room for the next.
"""

from collections.abc import Mapping
from uuid import UUID

SHARE = 3


def saturated(held: Mapping[UUID, int], room: int) -> list[UUID]:
    """The merchants that hold so many jobs that they must not take more of the `room` left."""
    limit = room * SHARE
    return [merchant for merchant, count in held.items() if count >= limit]
