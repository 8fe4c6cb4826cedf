"""PgQueuer on asyncpg and uvloop: batches of 500, its own durable tables, polled every 100 ms for what falls due."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from itertools import batched

import asyncpg
import control
import posting
import tally
import uvloop
from pgqueuer.db import AsyncpgDriver
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries

options = control.options()
_poster = posting.Coroutine(options["receiver"], options["payload"])
_queries = None


async def _prepare(_):
    global _queries
    if _queries is None:
        _queries = Queries(AsyncpgDriver(await asyncpg.connect(options["database_url"])))
        if not await _queries.schema_is_installed():
            await _queries.install()
    await _queries.clear_queue()
    await _queries.driver.execute("TRUNCATE pgqueuer, pgqueuer_log, pgqueuer_statistics")


async def _enqueue(command):
    now = datetime.now(UTC)
    for some in batched(control.jobs_of(command), 1000 if command["bulk"] else 1):
        names = [command["kind"]] * len(some)
        bodies = [job_id.encode() for job_id, _ in some]
        after = [timedelta() if due is None else datetime.fromtimestamp(due, UTC) - now for _, due in some]
        # `execute_after` counts from the moment of the insert.
        late = datetime.now(UTC) - now
        await _queries.enqueue(names, bodies, [0] * len(some), [max(timedelta(), each - late) for each in after])


async def _remaining(_):
    rows = await _queries.driver.fetch("SELECT count(*) AS remaining FROM pgqueuer")
    return {"remaining": rows[0]["remaining"]}


async def _work():
    manager = QueueManager(Queries(AsyncpgDriver(await asyncpg.connect(options["database_url"]))))

    @manager.entrypoint("noop")
    async def noop(job):
        tally.add(options["folder"])

    @manager.entrypoint("post")
    async def post(job):
        await _poster.post(job.payload.decode())
        tally.add(options["folder"])

    # Ten times as often as it would by itself look for what has fallen due; its floor is 100 ms.
    await manager.run(dequeue_timeout=timedelta(seconds=0.1), batch_size=500, max_concurrent_tasks=1000)


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    if sys.argv[1] == "control":
        control.serve(
            {"prepare": _prepare, "enqueue": _enqueue, "remaining": _remaining}, ["pgqueuer", "asyncpg", "uvloop"]
        )
    else:
        asyncio.run(_work())
