"""HTTPS: who is trusted, and what is said when it fails."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scheduler_core.delivery.courier import Courier
from scheduler_core.delivery.line import system_ca_bundle
from scheduler_core.domain.outcomes import Verdict

from .conftest import Inbox, Receiver, http_job, send, serve


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
