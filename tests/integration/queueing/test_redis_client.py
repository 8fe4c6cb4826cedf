"""The Redis client: who it says it is, what it does with connections that die, and with refusals."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dev.redis import RedisServer
from scheduler_core.clock import monotonic, utc_now
from scheduler_core.queueing.redis_client import (
    Connection,
    RedisAddress,
    RedisClient,
    RedisConnectionError,
    RedisReplyError,
    Script,
)


def client(url: str, *, timeout: float = 2.0) -> RedisClient:
    return RedisClient(RedisAddress.parse(url), connect_timeout=1.0, timeout=timeout)


def count_connections(url: str) -> int:
    """Those beside the one that asks."""
    with redis.Redis.from_url(url) as admin:
        return len(admin.client_list()) - 1


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", RedisAddress(host="cache")),
        ("redis://cache:7000/3", RedisAddress(host="cache", port=7000, database=3)),
        ("rediss://:p%40ss@cache", RedisAddress(host="cache", password="p@ss", encrypted=True)),
        ("redis://u:p@[::1]:1/", RedisAddress(host="::1", port=1, username="u", password="p")),
    ],
)
def test_an_address_is_read_from_a_url(url: str, address: RedisAddress) -> None:
    assert RedisAddress.parse(url) == address


@pytest.mark.parametrize("url", ["http://cache", "redis://:hidden@/1", "redis://h:hidden@x/one", "redis://x?db=hidden"])
def test_i9_a_url_that_cannot_be_read_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="redis://") as error:
        RedisAddress.parse(url)
    assert "hidden" not in str(error.value)


def test_commands_go_to_the_database_of_the_url(redis_server: RedisServer) -> None:
    address = redis_server.url.rpartition("/")[0] if redis_server.url.count("/") > 2 else redis_server.url
    one, other = client(f"{address}/0"), client(f"{address}/1")
    one.command("SET", "key", "value")
    assert one.command("GET", "key") == b"value"
    assert other.command("GET", "key") is None
    one.close()
    other.close()


def test_a_password_and_a_user_are_told(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as admin:
        admin.config_set("requirepass", "installation secret")
        admin.acl_setuser("worker", enabled=True, passwords=["+other secret"], keys=["*"], commands=["+@all"])
    host = redis_server.url.removeprefix("redis://")
    for who in (":installation%20secret", "worker:other%20secret"):
        trusted = client(f"redis://{who}@{host}")
        assert trusted.command("PING") == b"PONG"
        trusted.close()
    for who in ("", ":wrong@", "worker:wrong@"):
        with pytest.raises((RedisConnectionError, RedisReplyError)) as error:
            client(f"redis://{who}{host}").command("PING")
        assert "wrong" not in str(error.value).lower().replace("wrongpass", "")


def test_a_connection_is_kept_for_the_next_call_and_each_thread_has_its_own(redis_server: RedisServer) -> None:
    shared = client(redis_server.url)
    for _ in range(5):
        shared.command("PING")
    assert count_connections(redis_server.url) == 1
    start, answers = threading.Barrier(8), []

    def work() -> None:
        start.wait()
        answers.extend(shared.command("ECHO", str(n)) == str(n).encode() for n in range(200))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 1_600
    assert count_connections(redis_server.url) <= 8
    shared.close()


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(redis_server: RedisServer) -> None:
    shared = client(redis_server.url)
    shared.command("PING")
    redis_server.restart()
    assert shared.command("PING", once=True) == b"PONG"
    shared.close()


def test_a_refusal_is_an_error_and_the_connection_goes_on(redis_server: RedisServer) -> None:
    shared = client(redis_server.url)
    with pytest.raises(RedisReplyError, match="unknown command"):
        shared.pipeline([("SET", "a", 1), ("NONSENSE",), ("SET", "b", 2)])
    assert shared.pipeline([("GET", "a"), ("GET", "b")]) == [b"1", b"2"]
    assert count_connections(redis_server.url) == 1
    shared.close()


def test_a_script_is_sent_again_to_a_server_that_has_forgotten_it(redis_server: RedisServer) -> None:
    shared = client(redis_server.url)
    double = Script(shared, "return {KEYS[1], ARGV[1] * 2}")
    assert double("k", [21]) == [b"k", 42]
    shared.command("SCRIPT", "FLUSH")
    assert double("k", [4]) == [b"k", 8]
    shared.close()


class Mute:
    """A server that answers the first command of its first connection, and then falls silent or hangs up."""

    def __init__(self, *, hangs_up: bool) -> None:
        self.commands: list[bytes] = []
        self._hangs_up = hangs_up
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self.url = f"redis://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                first = not self._held
                self._held.append(peer)
                self.commands.append(peer.recv(4_096))
                peer.sendall(b"+one\r\n" if first else b"+again\r\n")
                if first:
                    self.commands.append(peer.recv(4_096))
                    if self._hangs_up:
                        peer.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        for each in (self._socket, *self._held):
            each.close()
        self._thread.join()


@contextmanager
def mute(*, hangs_up: bool) -> Iterator[Mute]:
    server = Mute(hangs_up=hangs_up)
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("hangs_up", [True, False])
def test_on_a_kept_connection_that_is_dead_a_command_is_sent_again(hangs_up: bool) -> None:
    """A connection that a frozen environment kept too long: the network has forgotten it and says nothing."""
    with mute(hangs_up=hangs_up) as server:
        shared = client(server.url, timeout=0.3)
        assert shared.command("PING") == b"one"
        assert shared.command("PING") == b"again"
        assert len(server.commands) == 3
        shared.close()


def test_what_must_not_be_done_twice_is_not_sent_again() -> None:
    with mute(hangs_up=True) as server:
        shared = client(server.url, timeout=0.3)
        shared.command("PING")
        with pytest.raises(RedisConnectionError):
            shared.command("PING", once=True)
        assert len(server.commands) == 2
        assert shared.command("PING", once=True) == b"again"
        shared.close()


def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = monotonic()
        with pytest.raises(RedisConnectionError, match="TimeoutError"):
            client(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3).command("PING")
        assert monotonic() - began < 2


def _hear_to_the_end(ears: Connection) -> None:
    while True:
        ears.hears_within(1.0)


def test_a_listener_hears_a_message_and_a_silence(redis_server: RedisServer) -> None:
    shared = client(redis_server.url)
    ears = shared.connect()
    ears.call([("SUBSCRIBE", "wake")])
    assert ears.hears_within(0.05) is False
    for _ in range(3):
        shared.command("PUBLISH", "wake", "now")
    assert ears.hears_within(1.0) is True
    redis_server.stop()
    with pytest.raises(RedisConnectionError):
        _hear_to_the_end(ears)
    ears.close()
    shared.close()


@pytest.fixture
def tls_url(redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The server behind a TLS front of ours, whose certificate the environment trusts."""
    certificate = _certificate(tmp_path / "cache.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    port = int(redis_server.url.rpartition(":")[2].partition("/")[0])
    front = socket.create_server(("127.0.0.1", 0))

    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(4_096):
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.close()

    def serve() -> None:
        while True:
            try:
                plain, _ = front.accept()
            except OSError:
                return
            try:
                peer = context.wrap_socket(plain, server_side=True)
            except OSError:
                continue
            behind = socket.create_connection(("127.0.0.1", port))
            for ends in ((peer, behind), (behind, peer)):
                threading.Thread(target=pass_on, args=ends, daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"rediss://127.0.0.1:{front.getsockname()[1]}"
    front.shutdown(socket.SHUT_RDWR)
    front.close()
    thread.join()


def _certificate(path: Path) -> Path:
    key, now = ec.generate_private_key(ec.SECP256R1()), utc_now()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path


def test_tls_serves_commands_and_a_listener(tls_url: str) -> None:
    shared = client(tls_url)
    assert shared.pipeline([("SET", "k", "v" * 100_000), ("STRLEN", "k")]) == [b"OK", 100_000]
    assert shared.command("GET", "k") == b"v" * 100_000
    ears = shared.connect()
    ears.call([("SUBSCRIBE", "wake")])
    assert ears.hears_within(0.05) is False
    shared.command("PUBLISH", "wake", "now")
    assert ears.hears_within(1.0) is True
    ears.close()
    shared.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(tls_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(RedisConnectionError, match="CertVerification"):
        client(tls_url).command("PING")
