"""How many executors the work at hand needs."""

import math


def executors_to_invoke(due: int, awake: int, *, per_executor: int, most: int) -> int:
    """How many more executors to ask for: one for every `per_executor` due jobs, never above `most` in all."""
    wanted = min(most, math.ceil(due / per_executor))
    return max(0, wanted - awake)
