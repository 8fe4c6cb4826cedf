"""What SIGTERM means to an executor."""

import os
import signal
import threading

import pytest

from executor import stopping
from executor.stopping import StopRequest, stop_request


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(stopping, "monotonic", lambda: now[0])
    return now


def test_nothing_more_is_claimed_at_once_and_nothing_delivered_after_a_while(clock: list[float]) -> None:
    request = StopRequest(30)
    assert not request.is_set()
    assert not request.is_over()
    request.ask()
    assert request.is_set()
    assert not request.is_over()
    clock[0] += 29
    request.ask()  # a second signal does not make it longer
    assert not request.is_over()
    clock[0] += 1
    assert request.is_over()


def test_without_time_it_is_over_at_once(clock: list[float]) -> None:
    request = StopRequest(0)
    request.ask()
    assert request.is_over()


def test_the_signal_asks_and_has_its_old_meaning_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_request(30) as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.is_set()
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_gets_no_signals() -> None:
    seen = []

    def work() -> None:
        with stop_request(1) as request:
            seen.append(request.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
