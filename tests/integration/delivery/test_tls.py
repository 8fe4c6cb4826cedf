"""HTTPS: who is trusted, and what is said when it fails."""

import ipaddress
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scheduler_core.clock import utc_now
from scheduler_core.delivery.courier import Courier
from scheduler_core.delivery.line import system_ca_bundle
from scheduler_core.domain.outcomes import Verdict

from .conftest import Inbox, Receiver, http_job, send, serve


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and hook.example that signs itself, with its key behind it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's own authority")])
    now = utc_now()
    names: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
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
def tls_receiver(authority: Path) -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    yield from serve(context)


def test_a_certificate_of_a_trusted_authority_is_accepted(
    start_courier: Callable[..., Courier], tls_receiver: Receiver, inbox: Inbox, authority: Path
) -> None:
    courier = start_courier(
        ca_bundle=str(authority), pins=[f"hook.example:{tls_receiver.port}:127.0.0.1"], max_in_flight=1
    )
    for url in (tls_receiver.url(), tls_receiver.url(host="hook.example")) * 2:
        send(courier, http_job(url))
    assert [result.verdict for result in inbox.wait_for(4)] == [Verdict.DONE] * 4


def test_a_self_signed_certificate_is_not_trusted_by_default(
    courier: Courier, tls_receiver: Receiver, inbox: Inbox
) -> None:
    send(courier, http_job(tls_receiver.url("/secret?secret=1")))
    result = inbox.one()
    assert result.verdict is Verdict.RETRYABLE
    assert (result.error or "").startswith(f"TLS with 127.0.0.1:{tls_receiver.port} failed: ")
    assert "secret" not in (result.error or "")
    assert tls_receiver.requests == []


def test_a_certificate_for_another_name_is_not_accepted(
    start_courier: Callable[..., Courier], tls_receiver: Receiver, inbox: Inbox, authority: Path
) -> None:
    courier = start_courier(ca_bundle=str(authority), pins=[f"other.example:{tls_receiver.port}:127.0.0.1"])
    send(courier, http_job(tls_receiver.url(host="other.example")))
    assert "TLS" in (inbox.one().error or "")
    assert tls_receiver.requests == []


def test_a_server_without_tls_is_said_to_be_one(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    send(courier, http_job(receiver.url().replace("http://", "https://"), timeout_seconds=1))
    result = inbox.one()
    assert result.verdict is Verdict.RETRYABLE
    assert receiver.requests == []


def test_the_systems_authorities_are_found_and_may_be_named(
    monkeypatch: pytest.MonkeyPatch, authority: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert system_ca_bundle() == str(authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    assert system_ca_bundle() != str(tmp_path / "missing.pem")
