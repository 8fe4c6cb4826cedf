"""What goes over the wire."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from standardwebhooks import Webhook

from scheduler_core.delivery.courier import Courier
from scheduler_core.delivery.parcels import Parcel
from scheduler_core.domain.outcomes import Verdict
from scheduler_core.security.signing import Signer, shown_secret

from .conftest import Inbox, Receiver, Request, answer, http_job, send


def delivered(courier: Courier, receiver: Receiver, inbox: Inbox, **fields: Any) -> Request:
    """The one request that a job makes."""
    send(courier, http_job(receiver.url("/hook?a=b"), **fields))
    assert inbox.one().verdict is Verdict.DONE
    return receiver.requests[0]


def test_a_delivery_carries_payload_and_the_headers_of_the_contract(
    courier: Courier, receiver: Receiver, inbox: Inbox
) -> None:
    job = http_job(receiver.url("/hook?a=b"), headers={"Authorization": "Bearer x", "X-Empty": ""}, attempt=3)
    send(courier, job)
    result = inbox.one()
    request = receiver.requests[0]
    assert (request.method, request.path, request.body) == ("POST", "/hook?a=b", b'{"n": 1}')
    timestamp = int(result.started_at.timestamp())
    span = f"{job.id.int & (2**64 - 1) ^ 3:016x}"
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "accept": "*/*",
        "authorization": "Bearer x",
        "x-empty": "",
        "content-type": "application/json",
        "content-length": "8",
        "user-agent": "task-scheduler/1",
        "webhook-id": str(job.id),
        "webhook-timestamp": str(timestamp),
        "x-scheduler-attempt": "3",
        "traceparent": f"00-{job.id.hex}-{span}-01",
    }


def test_the_result_says_when_what_status_and_the_first_of_the_answer(
    courier: Courier, receiver: Receiver, inbox: Inbox
) -> None:
    receiver.scripts["/"] = answer(201, b"made \x00 it")
    job = http_job(receiver.url())
    send(courier, job)
    result = inbox.one()
    assert inbox.deliveries[0][0] is job
    assert (result.verdict, result.http_status, result.error, result.response) == (
        Verdict.DONE,
        201,
        None,
        "made \ufffd it",  # PostgreSQL's text holds no NUL
    )
    assert job.due_at <= result.started_at <= receiver.requests[0].at <= result.finished_at


@pytest.mark.parametrize("secrets", [1, 2], ids=["one secret", "two during a rotation"])
def test_the_standard_webhooks_library_verifies_the_signature(
    courier: Courier, receiver: Receiver, inbox: Inbox, secrets: int
) -> None:
    keys = [os.urandom(32) for _ in range(secrets)]
    job = http_job(receiver.url(), payload='{"grüße": "äöü"}')
    courier.submit([Parcel(job, tuple(Signer(key) for key in keys))])
    inbox.one()
    request = receiver.requests[0]
    for key in keys:
        assert Webhook(shown_secret(key)).verify(request.body, request.headers) == {"grüße": "äöü"}


def test_an_empty_payload_is_signed_as_an_empty_body(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    signer = Signer(b"k" * 32)
    courier.submit([Parcel(http_job(receiver.url(), payload=None), (signer,))])
    inbox.one()
    headers = receiver.requests[0].headers
    message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode()
    assert headers["webhook-signature"] == signer.sign(message).decode()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("payload", [None, '{"n": 1}', ""])
def test_every_method_goes_with_and_without_a_payload(
    courier: Courier, receiver: Receiver, inbox: Inbox, method: str, payload: str | None
) -> None:
    request = delivered(courier, receiver, inbox, method=method, payload=payload)
    assert (request.method, request.body) == (method, (payload or "").encode())
    says_length = payload is not None or method in {"POST", "PUT", "PATCH"}
    assert request.headers.get("content-length") == (str(len(request.body)) if says_length else None)
    assert request.headers.get("content-type") == (None if payload is None else "application/json")
    assert "transfer-encoding" not in request.headers


@pytest.mark.parametrize("payload", [None, '{"n": 1}'])
def test_head_never_carries_a_body_and_does_not_wait_for_one(
    courier: Courier, receiver: Receiver, inbox: Inbox, payload: str | None
) -> None:
    receiver.scripts["/hook"] = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
    request = delivered(courier, receiver, inbox, method="HEAD", payload=payload)
    assert (request.method, request.body) == ("HEAD", b"")


def test_methods_follow_one_another_on_the_same_line_without_traces(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    courier = start_courier(max_in_flight=1)
    plan = [("POST", "a"), ("GET", None), ("DELETE", "b"), ("HEAD", None), ("PUT", None), ("POST", "c"), ("GET", "d")]
    send(courier, *(http_job(receiver.url(f"/{n}"), method=m, payload=p) for n, (m, p) in enumerate(plan)))
    assert {result.verdict for result in inbox.wait_for(len(plan))} == {Verdict.DONE}
    seen = [(request.method, request.path, request.body) for request in receiver.requests]
    assert seen == [(m, f"/{n}", (p or "").encode()) for n, (m, p) in enumerate(plan)]


def test_the_producers_content_type_user_agent_and_trace_are_kept(
    courier: Courier, receiver: Receiver, inbox: Inbox
) -> None:
    trace = f"00-{'1' * 32}-{'2' * 16}-00"
    given = {"Content-Type": "application/cloudevents+json", "User-Agent": "shop/2", "Traceparent": trace}
    request = delivered(courier, receiver, inbox, headers=given)
    for name, value in given.items():
        assert request.raw.lower().count(f"\r\n{name.lower()}:".encode()) == 1
        assert request.headers[name.lower()] == value


def test_the_schedulers_own_headers_cannot_be_overridden(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    given = {
        "Webhook-Id": "forged",
        "Content-Length": "1",
        "Transfer-Encoding": "chunked",
        "Host": "x",
        "Expect": "100-continue",
    }
    request = delivered(courier, receiver, inbox, headers=given)
    assert request.headers["webhook-id"] != "forged"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.body == b'{"n": 1}'
    assert not {"expect", "transfer-encoding"} & set(request.headers)


def test_the_largest_payload_goes_in_one_piece_without_asking_first(
    courier: Courier, receiver: Receiver, inbox: Inbox
) -> None:
    payload = '"' + "ä" * (128 * 1024 - 1) + '"'
    request = delivered(courier, receiver, inbox, payload=payload)
    assert request.body.decode() == payload
    assert "expect" not in request.headers


def test_credentials_in_the_url_become_basic_authentication(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    send(courier, http_job(f"http://shop:secret@127.0.0.1:{receiver.port}/"))
    inbox.one()
    assert receiver.requests[0].headers["authorization"] == "Basic c2hvcDpzZWNyZXQ="


def test_a_url_beyond_ascii_goes_percent_encoded_to_its_punycode_host(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    courier = start_courier(pins=[f"xn--bcher-kva.example:{receiver.port}:127.0.0.1"])
    send(courier, http_job(receiver.url("/straße/../x?ü=1", host="bücher.example")))
    inbox.one()
    request = receiver.requests[0]
    assert request.path == "/stra%C3%9Fe/../x?%C3%BC=1"
    assert request.headers["host"] == f"xn--bcher-kva.example:{receiver.port}"


def test_the_environments_proxy_is_not_used(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    send(start_courier(), http_job(receiver.url()))
    assert inbox.one().verdict is Verdict.DONE


def test_cookies_are_not_carried_from_one_delivery_to_the_next(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    receiver.scripts["/"] = answer(200, b"", set_cookie="session=1; Path=/")
    courier = start_courier(max_in_flight=1)
    send(courier, http_job(receiver.url()), http_job(receiver.url()))
    inbox.wait_for(2)
    assert all("cookie" not in request.headers for request in receiver.requests)


def test_connections_are_kept_alive_and_used_again(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    courier = start_courier(max_in_flight=4)
    send(courier, *(http_job(receiver.url()) for _ in range(200)))
    inbox.wait_for(200)
    assert len({request.peer for request in receiver.requests}) <= 4


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    def answer_and_leave(connection: Any, _request: Request) -> None:
        connection.sendall(answer(200))
        raise OSError("bye")

    receiver.scripts["/"] = answer_and_leave
    courier = start_courier(max_in_flight=1)
    for count in range(1, 6):
        send(courier, http_job(receiver.url()))
        assert {result.verdict for result in inbox.wait_for(count)} == {Verdict.DONE}
    assert len({request.peer for request in receiver.requests}) == 5
