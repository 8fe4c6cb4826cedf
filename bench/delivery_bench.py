"""How many deliveries per second the courier makes, beside a bare libcurl loop that does none of its work.

`python -m bench.delivery_bench [--jobs 60000] [--at-once 100] [--rounds 3]` starts an nginx of its own (one worker,
a free loopback port) and prints one JSON line per round. `--url` measures against another receiver instead. A round
runs both contenders one after the other: a machine's speed drifts, so it is the ratio that counts.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Final

import pycurl

from scheduler_core.clock import monotonic, utc_now
from scheduler_core.delivery.courier import Courier
from scheduler_core.delivery.parcels import Delivery, Parcel
from scheduler_core.domain.ids import uuid7
from scheduler_core.domain.jobs import ClaimedJob
from scheduler_core.domain.lifecycle import ScheduleType
from scheduler_core.domain.outcomes import Verdict
from scheduler_core.security.signing import Signer

_BATCH: Final = 500
_PAYLOAD: Final = '{"order": 4711, "note": "as long as a usual small payload is"}'
_NGINX: Final = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port} backlog=8192; location / {{ return 200 "ok"; }} }}
}}
"""


@contextlib.contextmanager
def nginx() -> Iterator[str]:
    """An nginx that answers 200 to everything; its URL."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise SystemExit("nginx is not on PATH: install it, or give the address of another receiver with --url")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        config = Path(folder, "nginx.conf")
        config.write_text(_NGINX.format(folder=folder, port=port), encoding="utf-8")
        server = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)  # noqa: S603 - found above
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/hook"
        finally:
            server.terminate()
            server.wait()


def _wait_for(port: int) -> None:
    deadline = monotonic() + 5
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def deliveries_per_second(url: str, jobs: int, at_once: int) -> float:
    """The courier, with a signature for each delivery."""
    now = utc_now()
    merchant = uuid7(now, os.urandom(10))
    target = json.dumps({"type": "http", "url": url, "method": "POST", "headers": {}})
    signers = (Signer(os.urandom(32)),)
    parcels = [
        Parcel(
            ClaimedJob(
                id=uuid7(now, os.urandom(10)),
                merchant_id=merchant,
                attempt=1,
                due_at=now,
                retries=0,
                rescues=0,
                polls=0,
                max_retries=3,
                max_attempts=None,
                interval_seconds=None,
                schedule_type=ScheduleType.ONE_TIME,
                template_id=None,
                priority=0,
                expires_at=None,
                timeout_seconds=30,
                retry_initial_seconds=1.0,
                retry_max_seconds=60.0,
                retry_multiplier=2.0,
                target=target,
                payload=_PAYLOAD,
            ),
            signers,
        )
        for _ in range(jobs)
    ]
    taken: list[Delivery] = []
    complete = threading.Event()

    def on_results(results: list[Delivery]) -> None:
        taken.extend(results)
        if len(taken) == jobs:
            complete.set()

    networks = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
    courier = Courier(allowed_networks=networks, on_results=on_results, max_in_flight=at_once)
    courier.start()
    began = monotonic()
    for first in range(0, jobs, _BATCH):
        while courier.in_flight > at_once + 4 * _BATCH:
            time.sleep(0.001)
        courier.submit(parcels[first : first + _BATCH])
    complete.wait()
    took = monotonic() - began
    courier.close(1)
    failed = [result for _, result in taken if result.verdict is not Verdict.DONE]
    if failed:
        raise SystemExit(f"{len(failed)} deliveries failed, the first with: {failed[0].error or failed[0].http_status}")
    return jobs / took


def bare_transfers_per_second(url: str, jobs: int, at_once: int) -> float:
    """libcurl's multi interface with the same request each time: no signature, no due times, no address guard."""
    multi = pycurl.CurlMulti()
    headers = [b"content-type: application/json", b"webhook-id: 1", b"webhook-signature: v1," + b"A" * 44]

    def curl_for() -> pycurl.Curl:
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.POSTFIELDS, _PAYLOAD)
        curl.setopt(pycurl.HTTPHEADER, headers)
        curl.setopt(pycurl.WRITEFUNCTION, lambda _: None)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROXY, "")
        return curl

    curls = [curl_for() for _ in range(min(at_once, jobs, 900))]  # select() below stops at descriptor 1,023
    began = monotonic()
    for curl in curls:
        multi.add_handle(curl)
    started, done = len(curls), 0
    while done < jobs:
        multi.perform()
        _, completed, failed = multi.info_read(len(curls))
        if failed:
            raise SystemExit(f"a transfer failed: {failed[0][2]}")
        for curl in completed:
            multi.remove_handle(curl)
            done += 1
            if started < jobs:
                multi.add_handle(curl)
                started += 1
        if not completed:
            multi.select(0.1)
    return jobs / (monotonic() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a receiver that answers 2xx; default: an nginx of our own")
    parser.add_argument("--jobs", type=int, default=60_000)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with contextlib.nullcontext(options.url) if options.url else nginx() as url:
        for _ in range(options.rounds):
            courier = deliveries_per_second(url, options.jobs, options.at_once)
            bare = bare_transfers_per_second(url, options.jobs, options.at_once)
            line = {
                "courier_per_s": round(courier),
                "bare_libcurl_per_s": round(bare),
                "ratio": round(courier / bare, 2),
            }
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
