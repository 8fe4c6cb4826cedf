"""HTTP/2, which most targets behind TLS speak: many deliveries over one connection, and connections that end."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from bench import nginx
from dev import processes
from scheduler_core.delivery.courier import Courier
from scheduler_core.delivery.parcels import Parcel
from scheduler_core.domain.outcomes import Verdict
from scheduler_core.security.signing import Signer

from .conftest import Inbox, http_job

_LOG_SECONDS: Final = 5.0
_REQUESTS_PER_CONNECTION: Final = 30
_CONFIG: Final = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.error.log;
events {{ worker_connections 1024; }}
http {{
  log_format seen escape=json '{{"protocol": "$server_protocol", "connection": "$connection",'
    ' "length": "$content_length", "type": "$content_type", "own": "$http_x_own", "id": "$http_webhook_id",'
    ' "timestamp": "$http_webhook_timestamp", "attempt": "$http_x_scheduler_attempt",'
    ' "signature": "$http_webhook_signature", "trace": "$http_traceparent"}}';
  access_log {folder}/seen.log seen; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {certificate};
    location / {{ return 200 "ok"; }}
    location /brief {{ keepalive_requests {requests}; return 200 "ok"; }}
  }}
}}
"""


class Site:
    """An nginx that speaks HTTP/2, and what it has seen."""

    def __init__(self, port: int, log: Path) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self._log = log

    def seen(self, count: int) -> list[dict[str, Any]]:
        """Each request as nginx has logged it, once there are `count`."""
        processes.wait_until(lambda: len(self._log.read_bytes().splitlines()) >= count, _LOG_SECONDS)
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def site(tmp_path: Path, authority: Path) -> Iterator[Site]:
    port = processes.free_port()
    config = _CONFIG.format(folder=tmp_path, port=port, certificate=authority, requests=_REQUESTS_PER_CONNECTION)
    server = nginx.start(tmp_path, config, port)
    yield Site(port, tmp_path / "seen.log")
    server.terminate()
    server.wait()


def test_deliveries_share_a_connection_and_each_has_its_own_headers(
    start_courier: Callable[..., Courier], site: Site, inbox: Inbox, authority: Path
) -> None:
    signer = Signer(b"k" * 32)
    courier = start_courier(ca_bundle=str(authority))
    jobs = {str(job.id): job for job in (http_job(f"{site.url}/hook", headers={"x-own": "1"}) for _ in range(300))}
    first, *others = (Parcel(job, (signer,)) for job in jobs.values())
    courier.submit([first])
    inbox.one()
    courier.submit(others)
    assert {result.verdict for result in inbox.wait_for(len(jobs))} == {Verdict.DONE}
    seen = site.seen(len(jobs))
    assert sorted(each["id"] for each in seen) == sorted(jobs)
    assert len({each["connection"] for each in seen}) < 10
    for each in seen:
        job = jobs[each["id"]]
        body = (job.payload or "").encode()
        signed = f"{each['id']}.{each['timestamp']}.".encode() + body
        assert each["signature"] == signer.sign(signed).decode()
        assert each["trace"].startswith(f"00-{job.id.hex}-")
        assert (each["protocol"], each["attempt"], each["own"]) == ("HTTP/2.0", "1", "1")
        assert (each["type"], each["length"]) == ("application/json", str(len(body)))


def test_a_server_that_ends_connections_under_load_gets_each_delivery_once(
    start_courier: Callable[..., Courier], site: Site, inbox: Inbox, authority: Path
) -> None:
    courier = start_courier(ca_bundle=str(authority))
    count = 20 * _REQUESTS_PER_CONNECTION
    courier.submit([Parcel(http_job(f"{site.url}/brief")) for _ in range(count)])
    assert {result.verdict for result in inbox.wait_for(count)} == {Verdict.DONE}
    seen = site.seen(count)
    assert Counter(each["id"] for each in seen).most_common(1)[0][1] == 1
    assert len({each["connection"] for each in seen}) >= 20
