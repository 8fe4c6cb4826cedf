"""Calls of AWS: signed as AWS's own library signs, with the credentials at hand, bounded, and tried twice."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from scheduler_core.signed_calls import CallFailedError, SignedCaller, endpoint_of
from tests.receivers import Receiver, receiving

ARN_PATH = (
    "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Ats-executor%3Alive/invocations"
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def caller(url: str, *, seconds: float = 2.0) -> SignedCaller:
    return SignedCaller("lambda", region="eu-west-1", endpoint=url, seconds=seconds)


@pytest.mark.parametrize("path", ["/", ARN_PATH])
@pytest.mark.parametrize("token", [None, "a/session+token=="])
def test_the_signature_is_the_one_that_botocore_makes(
    receiver: Receiver, path: str, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    monkeypatch.setenv("AWS_SESSION_TOKEN", token or "")
    body = '{"reason": "ünannounced"}'.encode()
    caller(receiver.url).post(path, body, {"X-Amz-Invocation-Type": "Event", "Content-Type": "application/json"})
    [request] = receiver.received
    assert (request.path, request.body) == (path, body)
    signed_names = request.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    assert {"host", "x-amz-date", "x-amz-invocation-type"} <= set(signed_names)
    assert ("x-amz-security-token" in signed_names) == (token is not None)
    assert request.headers["authorization"].split("Signature=")[1] == _botocore_signature(
        receiver.url + path, body, {name: request.headers[name] for name in signed_names}, token
    )


def _botocore_signature(url: str, body: bytes, headers: dict[str, str], token: str | None) -> str:
    auth = SigV4Auth(Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token), "lambda", "eu-west-1")
    request = AWSRequest(method="POST", url=url, data=body, headers=headers)
    request.context["timestamp"] = headers["x-amz-date"]
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))


class _Scripted(BaseHTTPRequestHandler):
    """Answers with the statuses of its server's script, one after another; 0: hangs up without a word."""

    def do_POST(self) -> None:
        server: Any = self.server
        self.rfile.read(int(self.headers.get("content-length", 0)))
        status = server.script.pop(0)
        if status:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def scripted() -> Iterator[tuple[str, list[int]]]:
    """A service's URL and the statuses that it will answer with."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Scripted)
    server.script = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", server.script
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("trouble", [0, 500, 503])
def test_no_answer_and_a_failing_service_are_tried_once_more(scripted: tuple[str, list[int]], trouble: int) -> None:
    url, script = scripted
    script += [trouble, 202, 202]
    assert caller(url).post("/", b"", {}).status == 202
    assert script == [202]


def test_a_service_that_fails_twice_has_answered(scripted: tuple[str, list[int]]) -> None:
    url, script = scripted
    script += [500, 503]
    assert caller(url).post("/", b"", {}).status == 503


def test_two_hang_ups_are_a_failed_call(scripted: tuple[str, list[int]]) -> None:
    url, script = scripted
    script += [0, 0]
    with pytest.raises(CallFailedError):
        caller(url).post("/", b"", {})


def test_a_refusal_is_not_tried_again(scripted: tuple[str, list[int]]) -> None:
    url, script = scripted
    script += [403, 202]
    assert caller(url).post("/", b"", {}).status == 403


def test_a_service_that_hangs_costs_no_more_than_the_time_it_is_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(CallFailedError):
            caller(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.5).post("/", b"", {})
        assert time.monotonic() - started < 1.0


class _Provider(BaseHTTPRequestHandler):
    """Lambda's credentials provider, as a function restored from a snapshot finds it."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked += 1
        good = self.headers["authorization"] == "the token"
        answer = {
            "AccessKeyId": "AKIDPROVIDED",
            "SecretAccessKey": "made up",
            "Token": "session",
            "Expiration": (datetime.now(UTC) + server.lifetime).isoformat().replace("+00:00", "Z"),  # noqa: TID251 - botocore reads the real clock
        }
        body = json.dumps(answer).encode() if good else b"{}"
        self.send_response(200 if good else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    server.asked, server.lifetime = 0, timedelta(hours=1)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_address[1]}/creds")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the token")
    yield server
    server.shutdown()
    server.server_close()


def test_after_a_snapshot_credentials_come_from_their_provider_once_until_they_expire(
    provider: Any, receiver: Receiver
) -> None:
    calls = caller(receiver.url)
    for _ in range(3):
        calls.post("/", b"", {})
    assert provider.asked == 1
    assert "Credential=AKIDPROVIDED/" in receiver.received[0].headers["authorization"]
    assert receiver.received[0].headers["x-amz-security-token"] == "session"
    provider.lifetime = timedelta(minutes=4)
    calls = caller(receiver.url)
    for _ in range(3):
        calls.post("/", b"", {})
    assert provider.asked == 4


def test_a_provider_that_refuses_is_a_failed_call(
    provider: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "another")
    with pytest.raises(CallFailedError, match="no credentials"):
        caller(receiver.url).post("/", b"", {})
    assert receiver.received == []


def test_china_has_a_domain_of_its_own() -> None:
    assert endpoint_of("lambda", "cn-north-1") == "https://lambda.cn-north-1.amazonaws.com.cn"
    assert endpoint_of("lambda", "eu-west-1") == "https://lambda.eu-west-1.amazonaws.com"
