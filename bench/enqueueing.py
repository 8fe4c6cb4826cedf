"""How fast jobs are taken in: by the API's handler, one and a thousand at a time, and through the local gateway."""

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from bench import resources, stock
from bench.deployment import Deployment
from bench.site import Site
from cli.times import rfc3339
from dev import demo
from hosting.events import Request, request_event
from scheduler_core.clock import monotonic, utc_now

_BATCH: Final = 1_000
_WARM_CALLS: Final = 50
_DUE_AHEAD: Final = timedelta(seconds=80)
"""Inside the horizon, so that each is announced to the ready set; too far ahead to wake an executor."""


def enqueue(site: Site, jobs: int) -> Mapping[str, float]:
    """An eighth of `jobs` one by one through the handler, a sixteenth through the gateway, all of them in batches."""
    known = demo.prepare(site.postgres.url, site.folder, site.signing_key)
    with Deployment(site.stores, settings={"READY_SET_MAX": "5000000"}) as deployment:
        options = {
            "url": site.receiver.url,
            "merchant_id": str(known.merchant_id),
            "calls": max(100, jobs // 8),
            "batches": max(1, jobs // _BATCH),
            "payload": stock.PAYLOAD,
            "database_url": site.postgres.url,
            "redis_url": site.redis.url,
        }
        _fresh(site)
        handled = _handled(deployment.environment("api"), options)
        _fresh(site)
        deployment.warm("api", "authorizer")
        through = _through_gateway(deployment.url, known.api_key, job_body(site.receiver.url), max(100, jobs // 16))
        memory = max((resources.peak_memory(pid) for pid in deployment.pids("api")), default=0)
    return {**handled, **through, "api_peak_bytes": max(memory, handled["api_peak_bytes"])}


def job_body(url: str) -> dict[str, Any]:
    """A job as a producer asks for it."""
    return {
        "target": {"type": "http", "url": url},
        "payload": json.loads(stock.PAYLOAD),
        "scheduled_at": rfc3339(utc_now() + _DUE_AHEAD),
    }


def _fresh(site: Site) -> None:
    stock.clear(site.postgres.url)
    site.flush_redis()
    stock.settle(site.postgres.url)


def _handled(environment: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.handler_calls", json.dumps(options)]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode != 0:
        raise RuntimeError(f"the API's handler failed:\n{(done.stderr or done.stdout)[-2_000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _through_gateway(url: str, key: str, body: Mapping[str, Any], calls: int) -> dict[str, float]:
    """One connection, kept; each request waits for the answer of the one before."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    text = json.dumps(body)
    times = []
    for number in range(_WARM_CALLS + calls):
        began = monotonic()
        connection.request("POST", "/jobs", text, {"content-type": "application/json", "x-api-key": key})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != http.HTTPStatus.CREATED:
            raise RuntimeError(f"the gateway answered {answer.status}: {said[:500]!r}")
        if number >= _WARM_CALLS:
            times.append(monotonic() - began)
    connection.close()
    times.sort()
    return {"gateway_per_second": calls / sum(times), "gateway_p50_ms": times[calls // 2] * 1_000}


def authorized_event(path: str, body: Any, merchant_id: str) -> dict[str, Any]:
    """The event of a POST whose key the authorizer has accepted."""
    request = Request(
        method="POST",
        path=path,
        query="",
        headers=[("content-type", "application/json"), ("host", "localhost")],
        source_ip="127.0.0.1",
        body=json.dumps(body).encode(),
    )
    context = {"merchant_id": merchant_id, "key_id": "abcdefABCDEF", "permissions": "jobs:read jobs:write"}
    return request_event(
        request,
        route_key=f"POST {path}",
        path_parameters={},
        request_id="request",
        now=utc_now(),
        authorizer_context=context,
    )
