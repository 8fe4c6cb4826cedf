"""Tells a Redis that cannot do what it is asked to, for now, from one that was asked for nonsense.

Some of its error codes have a class in redis-py, which leaves the code out of the text, and others have none. Redis 6
puts the code of what a script ran into into the middle of the script's error.
"""

import re
from typing import Final

from scheduler_core.queueing.redis_py import redis

_CLASSES: Final = (
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.NoPermissionError,
)
_CODES: Final = re.compile(
    r"\b(OOM|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOPERM|LOADING|NOREPLICAS|BUSY|MISCONF)\b"
    r"|The user executing the script can't run"  # NOPERM of Redis 6
)


def inability(error: redis.ResponseError) -> str | None:
    """Why Redis does not do it: full, a replica, short of replicas, busy, forbidden; None: it is no such error."""
    if isinstance(error, _CLASSES):
        return type(error).__name__
    found = _CODES.search(str(error))
    return found and found[0]
