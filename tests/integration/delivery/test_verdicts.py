"""What becomes of an answer, or of none."""

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from typing import Any

import pytest

from scheduler_core.delivery.courier import Courier
from scheduler_core.domain.outcomes import DeliveryResult, Verdict

from .conftest import Inbox, Receiver, Request, answer, http_job, job_for, send


def result_of(courier: Courier, inbox: Inbox, receiver: Receiver, script: Any, **fields: Any) -> DeliveryResult:
    receiver.scripts["/x"] = script
    send(courier, http_job(receiver.url("/x"), **fields))
    return inbox.one()


@pytest.mark.parametrize(
    ("status", "verdict", "error"),
    [
        (200, Verdict.DONE, None),
        (204, Verdict.DONE, None),
        (299, Verdict.DONE, None),
        (202, Verdict.NOT_YET, None),
        (301, Verdict.PERMANENT, "redirects are not followed (301)"),
        (302, Verdict.PERMANENT, "redirects are not followed (302)"),
        (304, Verdict.PERMANENT, "redirects are not followed (304)"),
        (400, Verdict.PERMANENT, None),
        (404, Verdict.PERMANENT, None),
        (408, Verdict.RETRYABLE, None),
        (410, Verdict.GONE, None),
        (425, Verdict.RETRYABLE, None),
        (429, Verdict.RETRYABLE, None),
        (500, Verdict.RETRYABLE, None),
        (503, Verdict.RETRYABLE, None),
        (599, Verdict.RETRYABLE, None),
    ],
)
def test_each_status_has_its_verdict(
    courier: Courier, receiver: Receiver, inbox: Inbox, status: int, verdict: Verdict, error: str | None
) -> None:
    location = f"http://127.0.0.1:{receiver.port}/elsewhere"
    result = result_of(courier, inbox, receiver, answer(status, location=location))
    assert (result.verdict, result.http_status, result.error) == (verdict, status, error)
    assert [request.path for request in receiver.requests] == ["/x"]


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 7, 7),
        (format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True), 3_600, 7_200),  # noqa: TID251 - libcurl reads the real clock
        ("999999999", 3_600, 7 * 86_400),
    ],
    ids=["seconds", "date", "far too long"],
)
def test_retry_after_is_read_in_both_forms_and_bounded(
    courier: Courier, receiver: Receiver, inbox: Inbox, value: str, least: float, most: float
) -> None:
    result = result_of(courier, inbox, receiver, answer(503, retry_after=value))
    assert result.retry_after_seconds is not None
    assert least <= result.retry_after_seconds <= most


@pytest.mark.parametrize("value", ["soon", "-5", "9" * 30, "0", "", "Thu, 01 Jan 1970 00:00:00 GMT", "1e3x"])
def test_a_retry_after_that_says_nothing_is_ignored(
    courier: Courier, receiver: Receiver, inbox: Inbox, value: str
) -> None:
    result = result_of(courier, inbox, receiver, answer(429, retry_after=value))
    assert (result.verdict, result.retry_after_seconds) in {(Verdict.RETRYABLE, None), (Verdict.RETRYABLE, 1.0)}


def test_a_refused_connection_is_retryable_and_named(courier: Courier, inbox: Inbox, closed_port: int) -> None:
    send(courier, http_job(f"http://user:secret@127.0.0.1:{closed_port}/secret?secret=1"))
    result = inbox.one()
    assert (result.verdict, result.http_status) == (Verdict.RETRYABLE, None)
    assert result.error == f"could not connect to 127.0.0.1:{closed_port}: connection refused"


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_a_name_that_does_not_resolve_is_retryable(courier: Courier, inbox: Inbox) -> None:
    send(courier, http_job("http://no-such-name.invalid/"))
    result = inbox.one()
    assert (result.verdict, result.error) == (Verdict.RETRYABLE, "could not resolve no-such-name.invalid")


def test_silence_times_out_at_the_jobs_timeout(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    began = time.monotonic()
    result = result_of(courier, inbox, receiver, lambda *_: time.sleep(3), timeout_seconds=1)
    assert (result.verdict, result.error) == (Verdict.RETRYABLE, "timed out after 1 s")
    assert 0.95 < time.monotonic() - began < 1.5
    assert 0.95 < (result.finished_at - result.started_at).total_seconds() < 1.5


def test_a_server_that_accepts_no_connection_times_out_as_such(courier: Courier, inbox: Inbox) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        send(courier, http_job(f"http://127.0.0.1:{port}/", timeout_seconds=1))
        result = inbox.one()
        for filler in fillers:
            filler.close()
    assert (result.verdict, result.error) == (
        Verdict.RETRYABLE,
        f"could not connect to 127.0.0.1:{port} within 1 s",
    )


def test_a_body_that_drips_does_not_outlast_the_timeout(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    def drip(connection: socket.socket, _: Request) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _n in range(40):
            connection.sendall(b".")
            time.sleep(0.05)

    result = result_of(courier, inbox, receiver, drip, timeout_seconds=1)
    assert (result.verdict, result.error) == (Verdict.RETRYABLE, "timed out after 1 s")


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", "broke before the answer was complete"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", "broke before the answer was complete"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "did not answer with HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "did not answer with HTTP"),
        (b"\x00\x01\x02" * 100, "did not answer with HTTP"),
    ],
    ids=["hang-up", "half a body", "half a chunk", "another protocol", "no status", "garbage"],
)
def test_an_answer_that_is_none_is_retryable(
    courier: Courier, receiver: Receiver, inbox: Inbox, sent: bytes, text: str
) -> None:
    def say_and_leave(connection: socket.socket, _: Request) -> None:
        connection.sendall(sent)
        raise OSError("bye")

    result = result_of(courier, inbox, receiver, say_and_leave)
    assert result.verdict is Verdict.RETRYABLE
    assert text in (result.error or "")


def test_a_reset_mid_answer_is_retryable(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    def reset(connection: socket.socket, _: Request) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raise OSError("bye")

    assert result_of(courier, inbox, receiver, reset).verdict is Verdict.RETRYABLE


@pytest.mark.parametrize(
    ("status", "verdict"), [(200, Verdict.DONE), (500, Verdict.RETRYABLE), (404, Verdict.PERMANENT)]
)
def test_a_huge_answer_is_cut_off_and_its_status_counts(
    courier: Courier, receiver: Receiver, inbox: Inbox, status: int, verdict: Verdict
) -> None:
    pieces = []

    def pour(connection: socket.socket, _: Request) -> None:
        connection.sendall(f"HTTP/1.1 {status} X\r\ncontent-length: 1000000000\r\n\r\n".encode())
        while True:
            connection.sendall(b"abcd" * 4_096)
            pieces.append(1)

    result = result_of(courier, inbox, receiver, pour)
    assert (result.verdict, result.http_status, result.error) == (verdict, status, None)
    assert result.response == "abcd" * 256
    assert len(pieces) < 2_000


def test_endless_headers_are_cut_off(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    def pour(connection: socket.socket, _: Request) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"x-more: " + b"a" * 1_000 + b"\r\n")

    result = result_of(courier, inbox, receiver, pour)
    assert result.verdict is Verdict.RETRYABLE
    assert "headers" in (result.error or "")


def test_a_compressed_answer_is_not_asked_for_and_not_inflated(
    courier: Courier, receiver: Receiver, inbox: Inbox
) -> None:
    bomb = b"\x1f\x8b\x08" + b"\x00" * 50
    result = result_of(courier, inbox, receiver, answer(200, bomb, content_encoding="gzip"))
    assert result.verdict is Verdict.DONE
    assert "accept-encoding" not in receiver.requests[0].headers


def test_an_interim_answer_is_passed_over(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    result = result_of(courier, inbox, receiver, early + answer(201))
    assert result.http_status == 201


@pytest.mark.parametrize(
    "target",
    [
        "nonsense",
        "{}",
        {"type": "http", "url": "http://secret:secret@"},
        {"type": "http", "url": "file:///etc/secret"},
        {"type": "http", "url": "http://127.0.0.1:0/secret"},
        {"type": "http", "url": "http://127.0.0.1/", "headers": {"x": "secret\r\n"}},
    ],
)
def test_a_malformed_target_is_permanent_and_is_not_quoted(courier: Courier, inbox: Inbox, target: Any) -> None:
    send(courier, job_for(target))
    result = inbox.one()
    assert result.verdict is Verdict.PERMANENT
    assert "secret" not in (result.error or "")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://10.0.0.1/", "10.0.0.1 is not an allowed address (private)"),
        ("http://169.254.169.254/latest/", "169.254.169.254 is not an allowed address (cloud metadata)"),
        ("http://0x7f000001/", "127.0.0.1 is not an allowed address (loopback)"),
        ("http://2130706433/", "127.0.0.1 is not an allowed address (loopback)"),
        ("http://[::1]/", "::1 is not an allowed address (loopback)"),
        ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1 is not an allowed address (loopback)"),
        ("http://[64:ff9b::a00:1]/", "64:ff9b::a00:1 is not an allowed address (NAT64)"),
        ("https://192.168.1.1/", "192.168.1.1 is not an allowed address (private)"),
    ],
)
def test_a_forbidden_address_is_never_connected_to(
    start_courier: Callable[..., Courier], inbox: Inbox, url: str, text: str
) -> None:
    send(start_courier(allowed_networks=()), http_job(url))
    result = inbox.one()
    assert (result.verdict, result.error) == (Verdict.PERMANENT, text)


def test_a_name_that_leads_to_a_forbidden_address_is_refused_at_the_moment_of_connecting(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    """DNS may have said something else when the job was made (rebinding): what counts is the address dialled."""
    courier = start_courier(
        allowed_networks=(), pins=[f"inside.example:{receiver.port}:127.0.0.1", "both.example:80:10.0.0.1,192.168.0.1"]
    )
    send(courier, http_job(receiver.url(host="inside.example")))
    assert inbox.one().error == "127.0.0.1 is not an allowed address (loopback)"
    send(courier, http_job("http://both.example/"))
    assert inbox.wait_for(2)[1].verdict is Verdict.PERMANENT
    assert receiver.requests == []


def test_localhost_is_refused_where_loopback_is_and_reached_where_it_is_allowed(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    send(start_courier(allowed_networks=()), http_job(receiver.url(host="localhost")))
    assert inbox.one().verdict is Verdict.PERMANENT
    send(start_courier(allowed_networks=(ip_network("127.0.0.0/8"),)), http_job(receiver.url(host="localhost")))
    assert inbox.wait_for(2)[1].verdict is Verdict.DONE
