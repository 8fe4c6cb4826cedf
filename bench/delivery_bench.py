"""How many deliveries per second the courier makes, beside a bare libcurl loop that does none of its work.

`python -m bench.delivery_bench [--jobs 60000] [--at-once 100] [--rounds 3]` starts an nginx of its own (one worker,
a free loopback port) and prints one JSON line per round. `--url` measures against another receiver instead. A round
runs both contenders one after the other: a machine's speed drifts, so it is the ratio that counts.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from bench.bare_http import Transfers
from bench.nginx import Nginx
from scheduler_core.clock import monotonic, utc_now
from scheduler_core.delivery.courier import Courier
from scheduler_core.delivery.parcels import Delivery, Parcel
from scheduler_core.domain.ids import uuid7
from scheduler_core.domain.jobs import ClaimedJob
from scheduler_core.domain.outcomes import Verdict
from scheduler_core.security.signing import Signer

_BATCH: Final = 500
_PAYLOAD: Final = '{"order": 4711, "note": "as long as a usual small payload is"}'


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
                lease_id=0,
                due_at=now,
                expires_at=None,
                timeout_seconds=30,
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
    """libcurl's multi interface alone: no signature, no due times, no address guard."""
    transfers = Transfers(url, _PAYLOAD, at_once)
    began = monotonic()
    transfers.run(["1"] * jobs, lambda _: None)
    return jobs / (monotonic() - began)


def _nginx(ending: contextlib.ExitStack) -> str:
    folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
    return ending.enter_context(Nginx(folder)).url


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a receiver that answers 2xx; default: an nginx of our own")
    parser.add_argument("--jobs", type=int, default=60_000)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with contextlib.ExitStack() as ending:
        url = options.url or _nginx(ending)
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
