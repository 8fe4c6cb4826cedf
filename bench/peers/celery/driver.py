"""Celery on Redis: prefork workers, results ignored, gossip, mingle and heartbeats off, deep prefetch."""

import sys
from datetime import UTC, datetime

import control
import posting
import tally
from celery import Celery

options = control.options()
app = Celery("bench", broker=options["redis_url"])
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=0 if options["workload"] == "precision" else 128,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_pool_limit=10,
)
_poster = posting.Threaded(options["receiver"], options["payload"])


@app.task
def noop(job_id):
    tally.add(options["folder"])


@app.task
def post(job_id):
    _poster.post(job_id)
    tally.add(options["folder"])


def _prepare(_):
    with app.connection_for_write() as connection:
        connection.default_channel.client.flushdb()


def _enqueue(command):
    task = {"noop": noop, "post": post}[command["kind"]]
    with app.producer_pool.acquire(block=True) as producer:
        for job_id, due in control.jobs_of(command):
            eta = None if due is None else datetime.fromtimestamp(due, UTC)
            task.apply_async((job_id,), eta=eta, producer=producer)


def _remaining(_):
    with app.connection_for_read() as connection:
        client = connection.default_channel.client
        return {"remaining": client.llen("celery") + client.hlen("unacked")}


if __name__ == "__main__":
    if sys.argv[1] == "control":
        control.serve({"prepare": _prepare, "enqueue": _enqueue, "remaining": _remaining}, ["celery", "kombu", "redis"])
    else:
        app.worker_main(
            [
                "worker", "--pool=prefork", f"--concurrency={options['workers']}", "--loglevel=ERROR",
                "--without-gossip", "--without-mingle", "--without-heartbeat",
            ]
        )  # fmt: skip
