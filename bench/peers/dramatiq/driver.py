"""Dramatiq on Redis: processes of eight threads (its default), short worker timeout for precision."""

import os
import sys
import time

import control
import posting
import tally

options = control.options() if len(sys.argv) > 2 and sys.argv[1] in {"control", "work"} else None
if options is None:
    import json

    options = json.loads(os.environ["BENCH_OPTIONS"])

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, Retries, TimeLimit

broker = RedisBroker(url=options["redis_url"], middleware=[AgeLimit(), TimeLimit(), Retries()])
dramatiq.set_broker(broker)
_poster = posting.Threaded(options["receiver"], options["payload"])


@dramatiq.actor
def noop(job_id):
    tally.add(options["folder"])


@dramatiq.actor
def post(job_id):
    _poster.post(job_id)
    tally.add(options["folder"])


def _prepare(_):
    broker.client.flushdb()


def _enqueue(command):
    actor = {"noop": noop, "post": post}[command["kind"]]
    for job_id, due in control.jobs_of(command):
        delay = None if due is None else max(0, round((due - time.time()) * 1000))
        broker.enqueue(actor.message(job_id), delay=delay)


def _remaining(_):
    return {"remaining": broker.do_qsize("default")}


if __name__ == "__main__":
    if sys.argv[1] == "control":
        control.serve({"prepare": _prepare, "enqueue": _enqueue, "remaining": _remaining}, ["dramatiq", "redis"])
    else:
        environment = {**os.environ, "BENCH_OPTIONS": sys.argv[2]}
        if options["workload"] == "precision":
            environment["dramatiq_worker_timeout"] = "100"
        folder = os.path.dirname(os.path.abspath(__file__))
        program = os.path.join(os.path.dirname(sys.executable), "dramatiq")
        arguments = ["driver", "--path", folder, "--processes", str(options["workers"]), "--threads", "8"]
        os.execve(program, [program, *arguments], environment)
