"""What tests of the ready set must wait for."""

from redis import Redis

from scheduler_core.clock import monotonic
from scheduler_core.queueing.ready_set import BASE_KEY


def until_listening(redis_url: str, count: int) -> None:
    """Redis hears of a subscription and of a connection's end when it comes to them, not when they are sent."""
    end = monotonic() + 5
    with Redis.from_url(redis_url) as client:
        while client.pubsub_numsub(f"{BASE_KEY}:wake")[0][1] != count:
            assert monotonic() < end
