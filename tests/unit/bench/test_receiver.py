"""The receiver's process: what it records and how it answers."""

import http.client
import socket
import time
from urllib.parse import urlsplit

from bench.receiver import Receiver


def test_each_request_is_recorded_with_its_id_attempt_and_arrival() -> None:
    with Receiver() as receiver:
        connection = http.client.HTTPConnection(urlsplit(receiver.url).netloc, timeout=5)
        began = time.time_ns()
        for number in (1, 2):
            connection.request(
                "POST", "/", b'{"n": 1}', {"webhook-id": f"job-{number}", "x-scheduler-attempt": str(number)}
            )
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        connection.close()
        records = receiver.records()
        assert receiver.count() == (2, 2)
    assert [(each.job_id, each.attempt) for each in records] == [("job-1", 1), ("job-2", 2)]
    assert all(began <= each.arrived_ns <= time.time_ns() for each in records)


def test_a_request_that_comes_in_pieces_is_one_request() -> None:
    with Receiver() as receiver:
        address = urlsplit(receiver.url)
        with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=5) as connection:
            for piece in (b"POST / HTTP/1.1\r\nwebhook-id: a\r\nContent-", b"Length: 4\r\n\r\nab", b"cd"):
                connection.sendall(piece)
                time.sleep(0.01)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert receiver.count() == (1, 1)


def test_a_slow_receiver_answers_after_its_delay() -> None:
    with Receiver(delay_ms=100) as receiver:
        connection = http.client.HTTPConnection(urlsplit(receiver.url).netloc, timeout=5)
        began = time.monotonic()
        connection.request("POST", "/", b"")
        connection.getresponse().read()
        assert time.monotonic() - began >= 0.1
        connection.close()
