"""The receiver that deliveries can be tried with."""

import asyncio
import base64
import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from hosting import web

SECRET = "whsec_" + base64.b64encode(b"0" * 32).decode()


@pytest.fixture
def echo_url() -> Iterator[str]:
    """A running echo receiver."""
    bound = web.bind()
    echo = subprocess.Popen(
        [sys.executable, "-m", "dev.echo", str(bound.fileno())],
        pass_fds=(bound.fileno(),),
        stdout=subprocess.PIPE,
        env={**os.environ, "STACK_PID": str(os.getpid()), "ECHO_WEBHOOK_SECRET": SECRET},
    )
    with echo, contextlib.closing(bound):
        assert echo.stdout is not None
        ready = json.loads(echo.stdout.readline())
        yield ready["url"]
        echo.terminate()
        assert echo.wait(timeout=5) == 0


def test_anything_is_answered_and_remembered_with_its_time(echo_url: str) -> None:
    before = time.time_ns() // 1_000
    with httpx.Client(base_url=echo_url, trust_env=False) as client:
        assert client.post("/a", headers={"webhook-id": "one", "x-scheduler-attempt": "2"}).status_code == 200
        assert client.put("/b?status=503").status_code == 503
        assert client.get("/c?status=204").status_code == 204
        received = client.get("/received").json()
    assert received["total"] == 3
    first = received["items"][0]
    assert (first["method"], first["path"], first["webhook_id"], first["attempt"]) == ("POST", "/a", "one", "2")
    assert before <= first["received_us"] <= time.time_ns() // 1_000
    assert [item["status"] for item in received["items"]] == [200, 503, 204]


def test_the_first_attempts_of_each_job_can_be_failed(echo_url: str) -> None:
    with httpx.Client(base_url=echo_url, trust_env=False) as client:
        for job in ("one", "two"):
            answers = [client.post("/x?fail_first=2", headers={"webhook-id": job}).status_code for _ in range(3)]
            assert answers == [503, 503, 200]


def test_an_answer_can_be_delayed_and_nonsense_is_overlooked(echo_url: str) -> None:
    with httpx.Client(base_url=echo_url, trust_env=False) as client:
        began = time.monotonic()
        assert client.post("/x?delay_ms=200").status_code == 200
        assert time.monotonic() - began >= 0.2
        assert client.post("/x?status=99&delay_ms=soon").status_code == 200


def test_a_signature_is_checked(echo_url: str) -> None:
    now, body = datetime.now(UTC), '{"a":1}'  # noqa: TID251 - a signature needs the real time
    headers = {
        "webhook-id": "job",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("job", now, body),
    }
    with httpx.Client(base_url=echo_url, trust_env=False) as client:
        client.post("/x", content=body, headers=headers)
        client.post("/x", content=body + " ", headers=headers)
        client.post("/x", content=body)
        assert [i["signature"] for i in client.get("/received").json()["items"]] == ["valid", "invalid", "unchecked"]


def test_the_list_can_be_read_on_and_forgotten(echo_url: str) -> None:
    with httpx.Client(base_url=echo_url, trust_env=False) as client:
        for _ in range(5):
            client.post("/x")
        page = client.get("/received?after=1&limit=2").json()
        assert [item["number"] for item in page["items"]] == [2, 3]
        assert [item["number"] for item in client.get("/received?limit=2").json()["items"]] == [3, 4]
        client.delete("/received")
        assert client.get("/received").json() == {"total": 5, "items": []}


def test_a_thousand_requests_a_second_are_no_trouble(echo_url: str) -> None:
    host, _, port = echo_url.removeprefix("http://").rpartition(":")

    async def post(count: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(count):
            writer.write(b"POST /x HTTP/1.1\r\nhost: x\r\nwebhook-id: j\r\ncontent-length: 2\r\n\r\n{}")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()
        await writer.wait_closed()

    async def scenario() -> float:
        began = time.monotonic()
        await asyncio.gather(*(post(100) for _ in range(20)))
        return time.monotonic() - began

    assert asyncio.run(scenario()) < 2.0


def test_it_listens_on_its_own_loopback_address_only(echo_url: str) -> None:
    """Whoever listened on all addresses would be reached at the others of the loopback range too."""
    port = int(echo_url.rpartition(":")[2])
    with socket.socket() as other:
        other.settimeout(1)
        assert other.connect_ex(("127.0.0.1", port)) == 0
    if sys.platform == "linux":  # elsewhere the range has one address
        with socket.socket() as other:
            other.settimeout(1)
            assert other.connect_ex(("127.0.0.2", port)) == errno.ECONNREFUSED
