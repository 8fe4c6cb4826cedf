"""How many executors the work at hand needs, and how long one stays for work that is to come."""

import math
from datetime import timedelta
from typing import Final

TICK: Final = timedelta(seconds=60)
"""The period of the schedules."""
LINGER: Final = timedelta(seconds=70)
"""Within this time of a tick the next one's executor is at work: a period, and 10 s for a late tick and a cold start.
Somebody must be awake for what falls due before that; what falls due later is the next tick's."""


def executors_to_invoke(due: int, awake: int, *, per_executor: int, most: int) -> int:
    """How many more executors to ask for: one for every `per_executor` due jobs, never above `most` in all."""
    wanted = min(most, math.ceil(due / per_executor))
    return max(0, wanted - awake)
