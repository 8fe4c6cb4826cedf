"""arq: 100 jobs at a time, results not kept, polled every 10 ms."""

import asyncio
import sys
from datetime import UTC, datetime

import control
import posting
import tally
import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.constants import default_queue_name
from arq.worker import Worker

options = control.options()
settings = RedisSettings.from_dsn(options["redis_url"])
_poster = posting.Coroutine(options["receiver"], options["payload"])
_pool = None


async def noop(_, job_id):
    tally.add(options["folder"])


async def post(_, job_id):
    await _poster.post(job_id)
    tally.add(options["folder"])


async def _redis():
    global _pool
    if _pool is None:
        _pool = await create_pool(settings)
    return _pool


async def _prepare(_):
    await (await _redis()).flushdb()


async def _enqueue(command):
    redis = await _redis()
    turns = control.jobs_of(command)

    async def work():
        for job_id, due in turns:
            until = None if due is None else datetime.fromtimestamp(due, UTC)
            await redis.enqueue_job(command["kind"], job_id, _job_id=job_id, _defer_until=until)

    # There is no call for many at once: for `bulk` they are asked for side by side.
    await asyncio.gather(*(work() for _ in range(50 if command["bulk"] else 1)))


async def _remaining(_):
    redis = await _redis()
    return {"remaining": await redis.zcard(default_queue_name)}


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    if sys.argv[1] == "control":
        control.serve({"prepare": _prepare, "enqueue": _enqueue, "remaining": _remaining}, ["arq", "redis", "uvloop"])
    else:
        asyncio.set_event_loop(asyncio.new_event_loop())
        Worker(
            [noop, post], redis_settings=settings, max_jobs=100, keep_result=0, poll_delay=0.01, log_results=False
        ).run()
