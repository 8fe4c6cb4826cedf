"""Procrastinate: 100 jobs at a time, LISTEN/NOTIFY, polled every 100 ms for what falls due."""

import asyncio
import sys
from datetime import UTC, datetime
from itertools import batched

import control
import posting
import tally
import uvloop
from procrastinate import App, PsycopgConnector

options = control.options()
app = App(connector=PsycopgConnector(conninfo=options["database_url"], max_size=20))
_poster = posting.Coroutine(options["receiver"], options["payload"])
_opened = False


@app.task(name="noop")
async def noop(job_id):
    tally.add(options["folder"])


@app.task(name="post")
async def post(job_id):
    await _poster.post(job_id)
    tally.add(options["folder"])


async def _prepare(_):
    global _opened
    if not _opened:
        await app.open_async()
        _opened = True
        found = await app.connector.execute_query_one_async(
            "SELECT to_regclass('procrastinate_jobs') IS NOT NULL AS there"
        )
        if not found["there"]:
            await app.schema_manager.apply_schema_async()
    await app.connector.execute_query_async("TRUNCATE procrastinate_jobs, procrastinate_events CASCADE")


async def _enqueue(command):
    task = {"noop": noop, "post": post}[command["kind"]]
    if command["bulk"] and command.get("due") is None:
        for some in batched(control.jobs_of(command), 1000):
            await task.batch_defer_async(*({"job_id": job_id} for job_id, _ in some))
        return
    turns = control.jobs_of(command)

    async def work():
        for job_id, due in turns:
            at = None if due is None else datetime.fromtimestamp(due, UTC)
            await task.configure(schedule_at=at).defer_async(job_id=job_id)

    # Each of a batch is due at the same time, so those that are not are asked for side by side.
    await asyncio.gather(*(work() for _ in range(10 if command["bulk"] else 1)))


async def _remaining(_):
    row = await app.connector.execute_query_one_async(
        "SELECT count(*) AS remaining FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
    )
    return {"remaining": row["remaining"]}


async def _work():
    async with app.open_async():
        await app.run_worker_async(concurrency=100, fetch_job_polling_interval=0.1, listen_notify=True)


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    if sys.argv[1] == "control":
        control.serve(
            {"prepare": _prepare, "enqueue": _enqueue, "remaining": _remaining}, ["procrastinate", "psycopg", "uvloop"]
        )
    else:
        asyncio.run(_work())
