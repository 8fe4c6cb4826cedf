"""The cache's user in AWS (stacks/stores.yaml) may do all that the ready set does, and nothing that administers."""

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from scheduler_core.domain.jobs import MerchantLimits, Place
from scheduler_core.queueing.ready_set import Progress, ReadySet
from scheduler_core.settings import QueueSettings
from tests.builders import NOW, hints, new_id, seconds
from tests.infrastructure.templates import STORES, read

PASSWORD = "made-up-for-tests"


@pytest.fixture
def limited_url(redis_url: str) -> Iterator[str]:
    user = read(STORES)["Resources"]["CacheUser"]["Properties"]
    with Redis.from_url(redis_url) as owner:
        owner.execute_command(
            "ACL", "SETUSER", user["UserName"], "reset", f">{PASSWORD}", *user["AccessString"].split()
        )
        yield redis_url.replace("redis://", f"redis://{user['UserName']}:{PASSWORD}@")
        owner.execute_command("ACL", "DELUSER", user["UserName"])


def test_the_ready_set_lives_with_what_the_user_may_do(limited_url: str) -> None:
    queue = ReadySet.connect(QueueSettings(redis_url=limited_url))
    merchant, job = new_id(), new_id()
    place = Place(NOW, job)
    filled = Progress(cursor=place, light=place, heavy=(merchant,))
    try:
        queue.ping()
        queue.eviction_policy()
        queue.set_terms([(MerchantLimits(merchant_id=merchant, max_concurrency=2, rate_limit_per_second=10), True)])
        queue.sleep(0.01)
        queue.announce(NOW, hints(merchant, [job, new_id()], due_at=NOW))
        popped = queue.pop(NOW + seconds(1), executor="one", token="t", most=1)
        assert len(popped.hints) == 1
        queue.hold(NOW, popped.hints, for_seconds=5)
        queue.finish(["t"])
        queue.release(popped.hints)
        queue.mark_filled(NOW, filled)
        assert queue.resume() == filled
        queue.mark_filled(NOW, Progress())
        assert queue.depth(NOW).executors == 1
        assert queue.take_duty("watch", "me", seconds=5)
        assert queue.take_duty("watch", "me", seconds=5)
        assert queue.on_duty("watch")
        queue.leave_duty("watch", "me")
        queue.announce_cancelled(NOW, [job])
        assert queue.cancelled_since(NOW, most=1) == [job]
        losses = queue.begin_filling("me", seconds=5)
        assert losses is not None
        assert queue.keep_duty("refill", "me", seconds=5)
        assert queue.end_filling("me", losses)
        queue.mark_incomplete()
        queue.distrust(NOW, seconds=1)
        queue.arrive(NOW, executor="two", jobs_per_executor=1, ticked=True)
        queue.leave(NOW, executor="one", jobs_per_executor=1)
        queue.retire("one")
    finally:
        queue.close()


@pytest.mark.parametrize(
    "command",
    [("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("GET", "another"), ("SHUTDOWN",)],
)
def test_and_with_nothing_else(limited_url: str, command: tuple[str, ...]) -> None:
    with Redis.from_url(limited_url) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)
