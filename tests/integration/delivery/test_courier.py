"""The courier as a whole: when it sends, what it drops, what it survives."""

import gc
import logging
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sized
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from scheduler_core.clock import utc_now
from scheduler_core.delivery.courier import Courier
from scheduler_core.delivery.parcels import Delivery, Parcel
from scheduler_core.domain.outcomes import Verdict

from .conftest import Inbox, Receiver, answer, http_job, send, wait_until

OTHER = UUID("01932b7e-0000-7000-8000-000000000002")


def in_future(seconds: float) -> Any:
    return utc_now() + timedelta(seconds=seconds)


def hang(*_: object) -> None:
    time.sleep(5)


def test_a_parcel_is_held_until_it_is_due_and_never_sent_before(
    courier: Courier, receiver: Receiver, inbox: Inbox
) -> None:
    jobs = [http_job(receiver.url(), due_at=in_future(0.2 + 0.003 * n)) for n in range(150)]
    send(courier, *jobs[::-1])
    inbox.wait_for(len(jobs))
    due = {str(job.id): job.due_at for job in jobs}
    lateness = [(r.at - due[r.headers["webhook-id"]]).total_seconds() for r in receiver.requests]
    started = [(result.started_at - job.due_at).total_seconds() for job, result in inbox.deliveries]
    assert min(lateness) >= 0
    assert min(started) >= 0
    assert statistics.median(started) < 0.005


def test_what_is_due_first_is_sent_first(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    courier = start_courier(max_in_flight=1)
    late, early = (http_job(receiver.url(), due_at=in_future(wait)) for wait in (0.15, 0.1))
    send(courier, late, early)
    inbox.wait_for(2)
    assert [job.id for job, _ in inbox.deliveries] == [early.id, late.id]


def test_a_single_job_does_not_wait_behind_another_merchants_batch(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    courier = start_courier(max_in_flight=1)
    single = http_job(receiver.url(), merchant_id=OTHER)
    send(courier, *(http_job(receiver.url()) for _ in range(100)))
    receiver.wait_for(1)
    send(courier, single)
    inbox.wait_for(101)
    order = [job.id for job, _ in inbox.deliveries]
    assert order.index(single.id) < 60


def test_merchants_are_sent_by_weight(start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox) -> None:
    courier = start_courier(max_in_flight=1)
    heavy = [Parcel(http_job(receiver.url(), merchant_id=OTHER), weight=3) for _ in range(60)]
    light = [Parcel(http_job(receiver.url())) for _ in range(60)]
    courier.submit([*light, *heavy])
    inbox.wait_for(120)
    first = Counter(job.merchant_id for job, _ in inbox.deliveries[:40])
    assert first[OTHER] == 30


def test_a_batch_is_started_beside_what_goes_on(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    """More than a turn starts, none of them twice, and all at once where there is room."""
    courier = start_courier(max_in_flight=300)
    jobs = [http_job(receiver.url()) for _ in range(250)]
    send(courier, *jobs)
    inbox.wait_for(250)
    assert Counter(job.id for job, _ in inbox.deliveries) == Counter(job.id for job in jobs)


def test_no_more_are_sent_at_once_than_allowed(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    lock = threading.Lock()
    now, most = [0], [0]

    def count(connection: Any, _: object) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        connection.sendall(answer(200))

    receiver.scripts["/"] = count
    courier = start_courier(max_in_flight=5)
    send(courier, *(http_job(receiver.url()) for _ in range(40)))
    inbox.wait_for(40)
    assert most[0] == 5


def test_it_says_how_much_is_in_flight(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    receiver.scripts["/hang"] = hang
    send(courier, http_job(receiver.url("/hang")), http_job(receiver.url(), due_at=in_future(9)))
    send(courier, http_job(receiver.url("/hang"), merchant_id=OTHER), http_job(receiver.url(), merchant_id=OTHER))
    inbox.wait_for(1)
    assert courier.in_flight == 3
    courier.abort_all()
    assert courier.in_flight == 0


def test_an_aborted_delivery_is_cut_off_and_yields_no_result(
    courier: Courier, receiver: Receiver, inbox: Inbox
) -> None:
    hung_up = threading.Event()

    def wait_for_hang_up(connection: Any, _: object) -> None:
        connection.settimeout(3)
        if connection.recv(1) == b"":
            hung_up.set()

    receiver.scripts["/hang"] = wait_for_hang_up
    sending, held, kept = (
        http_job(receiver.url("/hang")),
        http_job(receiver.url(), due_at=in_future(0.3)),
        http_job(receiver.url("/kept"), due_at=in_future(0.3)),
    )
    send(courier, sending, held, kept)
    receiver.wait_for(1)
    courier.abort([(sending.id, sending.attempt), (held.id, held.attempt), (kept.id, kept.attempt + 1)])
    assert hung_up.wait(3)
    inbox.wait_for(1)
    assert [job.id for job, _ in inbox.deliveries] == [kept.id]
    assert courier.in_flight == 0
    assert [request.path for request in receiver.requests] == ["/hang", "/kept"]


def test_abort_all_answers_everything_that_was_in_flight_and_no_result_follows(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    receiver.scripts["/hang"] = hang
    courier = start_courier(max_in_flight=3)
    jobs = [http_job(receiver.url("/hang")) for _ in range(6)] + [http_job(receiver.url(), due_at=in_future(9))]
    send(courier, *jobs)
    receiver.wait_for(3)
    assert {job.id for job in courier.abort_all()} == {job.id for job in jobs}
    send(courier, http_job(receiver.url()))
    inbox.wait_for(1)
    assert len(inbox.deliveries) == 1


def test_abort_all_may_be_called_from_where_results_arrive(
    start_courier: Callable[..., Courier], receiver: Receiver
) -> None:
    left: list[Any] = []

    def on_results(_: list[Delivery]) -> None:
        left.extend(courier.abort_all())

    courier = start_courier(on_results=on_results)
    held = http_job(receiver.url(), due_at=in_future(9))
    send(courier, held, http_job(receiver.url()))
    wait_until(lambda: left == [held])


def test_close_waits_for_what_is_in_flight(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    def slow(connection: Any, _: object) -> None:
        time.sleep(0.2)
        connection.sendall(answer(200))

    receiver.scripts["/"] = slow
    send(courier, http_job(receiver.url()), http_job(receiver.url(), due_at=in_future(0.1)))
    assert courier.close(5) == []
    assert [result.verdict for _, result in inbox.deliveries] == [Verdict.DONE] * 2


def test_close_drops_and_answers_what_outlasts_the_grace(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    receiver.scripts["/hang"] = hang
    jobs = [http_job(receiver.url("/hang")), http_job(receiver.url(), due_at=in_future(9))]
    send(courier, *jobs)
    receiver.wait_for(1)
    began = time.monotonic()
    assert {job.id for job in courier.close(0.1)} == {job.id for job in jobs}
    assert time.monotonic() - began < 1
    assert inbox.deliveries == []
    assert courier.in_flight == 0


def test_an_idle_courier_closes_at_once_whatever_the_grace(courier: Courier) -> None:
    began = time.monotonic()
    assert courier.close(30) == []
    assert time.monotonic() - began < 5


def test_a_closed_courier_takes_nothing_and_may_be_closed_again(courier: Courier) -> None:
    courier.close(0)
    assert courier.close(0) == []
    assert courier.abort_all() == []
    courier.abort([])
    with pytest.raises(RuntimeError, match="not open"):
        send(courier, http_job("http://127.0.0.1/"))


def test_a_courier_that_never_started_can_be_closed(inbox: Inbox) -> None:
    assert Courier(allowed_networks=(), on_results=inbox, max_in_flight=1).close(0) == []


def test_the_thread_survives_an_owner_that_raises(
    start_courier: Callable[..., Courier], receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[Delivery] = []

    def on_results(results: list[Delivery]) -> None:
        taken.extend(results)
        if len(taken) == 1:
            raise RuntimeError("the owner is unwell")

    courier = start_courier(on_results=on_results)
    for count in (1, 2):
        send(courier, http_job(receiver.url()))
        wait_until(partial(_are, taken, count))
    assert "1 results were not taken" in caplog.text


def _are(things: Sized, count: int) -> bool:
    return len(things) == count


class BrokenSigner:
    def sign(self, message: bytes) -> bytes:
        raise RuntimeError("secret details")


def test_an_error_of_ours_is_a_retryable_result_of_that_job_alone_and_is_logged_once(
    courier: Courier, receiver: Receiver, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = http_job(receiver.url()), http_job(receiver.url())
    courier.submit([Parcel(bad, (BrokenSigner(),)), Parcel(good)])
    inbox.wait_for(2)
    results = {job.id: result for job, result in inbox.deliveries}
    assert results[good.id].verdict is Verdict.DONE
    assert (results[bad.id].verdict, results[bad.id].error) == (
        Verdict.RETRYABLE,
        "the scheduler could not deliver it (RuntimeError)",
    )
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


def test_the_thread_survives_an_error_in_its_own_loop(
    courier: Courier,
    receiver: Receiver,
    inbox: Inbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    courier._tell(lambda: 1 / 0)
    send(courier, http_job(receiver.url()))
    assert inbox.one().verdict is Verdict.DONE
    assert "stumbled" in caplog.text


def test_thousands_of_deliveries_leak_neither_descriptors_nor_handles_nor_memory(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    receiver.scripts["/gone"] = answer(500, b"x" * 2_000, connection="close")
    receiver.scripts["/404"] = answer(404)
    descriptors = open_descriptors()
    courier = start_courier(max_in_flight=50)
    urls = [receiver.url("/a"), receiver.url("/404"), "http://127.0.0.1:1/", "http://10.0.0.1/", "http://[::1]:1/"]
    count = 0
    resident = []
    for _ in range(4):
        jobs = [http_job(url, payload='"' + "x" * 20_000 + '"') for url in urls for _ in range(150)]
        jobs += [http_job(receiver.url("/gone")) for _ in range(20)]
        count += len(jobs)
        send(courier, *jobs)
        inbox.wait_for(count, 30)
        inbox.deliveries[:] = inbox.deliveries[:1] * count  # only the count matters
        receiver.requests.clear()
        gc.collect()
        resident.append(resident_bytes())
    assert len(courier._lines) <= 50
    assert courier.in_flight == 0
    assert resident[-1] - resident[1] < 4_000_000
    courier.close(1)
    wait_until(lambda: open_descriptors() <= descriptors)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the count is all that matters


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def test_results_come_in_lists_and_not_one_by_one(courier: Courier, receiver: Receiver, inbox: Inbox) -> None:
    send(courier, *(http_job("http://10.0.0.1:1/") for _ in range(1_000)))
    inbox.wait_for(1_000)
    assert inbox.calls < 500


def test_more_connections_than_select_could_watch(
    start_courier: Callable[..., Courier], receiver: Receiver, inbox: Inbox
) -> None:
    with_filler = [os.dup(0) for _ in range(1_024)]  # so that the courier's descriptors lie above 1,024
    try:
        courier = start_courier()
        send(courier, *(http_job(receiver.url()) for _ in range(100)))
        assert {result.verdict for result in inbox.wait_for(100)} == {Verdict.DONE}
        courier.close(0)
    finally:
        for filler in with_filler:
            os.close(filler)
