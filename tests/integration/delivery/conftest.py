"""A receiver whose every byte a test decides, and couriers that end with their test."""

import json
import os
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scheduler_core.clock import utc_now
from scheduler_core.delivery.courier import Courier
from scheduler_core.delivery.parcels import Delivery, Parcel
from scheduler_core.domain.ids import uuid7
from scheduler_core.domain.jobs import ClaimedJob
from scheduler_core.domain.outcomes import DeliveryResult

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
MERCHANT = UUID("01932b7e-0000-7000-8000-000000000001")
Script = Callable[[socket.socket, "Request"], None]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came over the wire."""

    at: datetime
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: tuple[str, int]
    raw: bytes


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """An HTTP/1.1 answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Receiver:
    """`scripts` says how each path behaves: bytes to answer, or a function; any other path answers 200."""

    host: str
    port: int
    scheme: str = "http"
    scripts: dict[str, bytes | Script] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def url(self, path: str = "/", host: str | None = None) -> str:
        return f"{self.scheme}://{host or self.host}:{self.port}{path}"

    def wait_for(self, count: int, seconds: float = 5) -> list[Request]:
        """The requests, once there are `count`."""
        wait_until(lambda: len(self.requests) >= count, seconds)
        return self.requests


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come about in time")
        time.sleep(0.002)


def _read_request(connection: socket.socket, peer: tuple[str, int]) -> Request | None:
    raw = b""
    while b"\r\n\r\n" not in raw:
        piece = connection.recv(65_536)
        if not piece:
            return None
        raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65_536)
    method, path, _ = lines[0].split(" ")
    return Request(utc_now(), method, path, headers, body, peer, head)


def serve(tls: ssl.SSLContext | None = None, family: int = socket.AF_INET, host: str = "127.0.0.1") -> Any:
    """A receiver on a free port of `host`; yields it, then ends it."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                connection = tls.wrap_socket(self.request, server_side=True) if tls else self.request
                with connection:
                    while (request := _read_request(connection, self.client_address)) is not None:
                        served.requests.append(request)
                        script = served.scripts.get(request.path.partition("?")[0], answer(200, b"ok"))
                        if isinstance(script, bytes):
                            connection.sendall(script)
                        else:
                            script(connection, request)
            except OSError:
                pass  # the courier hung up, or a script did

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 512
        address_family = family

    server = Server((host, 0), Handler)
    served = Receiver(f"[{host}]" if ":" in host else host, server.server_address[1], "https" if tls else "http")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and hook.example that signs itself, with its key behind it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's own authority")])
    now = utc_now()
    names: list[x509.GeneralName] = [
        x509.IPAddress(ip_address("127.0.0.1")),
        x509.DNSName("hook.example"),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "authority.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from serve()


@dataclass(slots=True)
class Inbox:
    """Where a courier puts its results."""

    deliveries: list[Delivery] = field(default_factory=list)
    calls: int = 0

    def __call__(self, results: list[Delivery]) -> None:
        self.calls += 1
        self.deliveries.extend(results)

    def wait_for(self, count: int, seconds: float = 10) -> list[DeliveryResult]:
        """The results, in the order of arrival, once there are `count`."""
        wait_until(lambda: len(self.deliveries) >= count, seconds)
        return [result for _, result in self.deliveries]

    def one(self, seconds: float = 10) -> DeliveryResult:
        return self.wait_for(1, seconds)[0]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def start_courier(inbox: Inbox) -> Iterator[Callable[..., Courier]]:
    """Starts couriers that may reach loopback and report to the inbox."""
    started: list[Courier] = []

    def start(**options: Any) -> Courier:
        courier = Courier(**{"allowed_networks": LOOPBACK, "on_results": inbox, "max_in_flight": 100, **options})
        courier.start()
        started.append(courier)
        return courier

    yield start
    for courier in started:
        courier.close(0)


@pytest.fixture
def courier(start_courier: Callable[..., Courier]) -> Courier:
    return start_courier()


def http_job(url: str, *, method: str = "POST", headers: dict[str, str] | None = None, **fields: Any) -> ClaimedJob:
    """A claimed job that is due now."""
    return job_for({"type": "http", "url": url, "method": method, "headers": headers or {}}, **fields)


def job_for(target: dict[str, Any] | str, **fields: Any) -> ClaimedJob:
    now = utc_now()
    values: dict[str, Any] = {
        "id": uuid7(now, os.urandom(10)),
        "merchant_id": MERCHANT,
        "attempt": 1,
        "lease_id": 1,
        "due_at": now - timedelta(milliseconds=1),
        "expires_at": None,
        "timeout_seconds": 5,
        "target": target if isinstance(target, str) else json.dumps(target),
        "payload": '{"n": 1}',
    }
    return ClaimedJob(**{**values, **fields})


def send(courier: Courier, *jobs: ClaimedJob) -> None:
    courier.submit([Parcel(job) for job in jobs])
