"""What the API says about a URL before a job is made."""

import socket
import threading
import time
from ipaddress import ip_network
from typing import Any

import pytest

from scheduler_core.domain.errors import TargetRefusedError
from scheduler_core.security.target_guard import TargetGuard

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class Names:
    """A resolver that knows what it was told, and counts how often it is asked."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = {name.replace("_", "."): found for name, found in addresses.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int | None, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        if host not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in self.addresses[host]]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://10.0.0.1/", "10.0.0.1 is not an allowed address (private)"),
        ("http://2130706433/", "127.0.0.1 is not an allowed address (loopback)"),
        ("http://0x7f.1:8080/a", "127.0.0.1 is not an allowed address (loopback)"),
        ("http://①②⑦.⓪.⓪.①/", "127.0.0.1 is not an allowed address (loopback)"),
        ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1 is not an allowed address (loopback)"),
        ("http://[fe80::1%25eth0]/", "fe80::1 is not an allowed address (link-local)"),
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254 is not an allowed address (cloud metadata)"),
        ("http://LocalHost:3000/", "localhost is not an allowed address (loopback)"),
        ("http://localhost./", "localhost is not an allowed address (loopback)"),
        ("http://db.localhost/", "db.localhost is not an allowed address (loopback)"),
        ("http://inside.example/", "inside.example leads to 192.168.0.7, which is not an allowed address (private)"),
        ("http://both.example/", "both.example leads to 10.0.0.9, which is not an allowed address (private)"),
        ("gopher://example.com/", "the URL does not start with http:// or https://"),
    ],
)
def test_a_url_that_leads_inside_is_refused_with_the_address_and_the_reason(url: str, text: str) -> None:
    guard = TargetGuard((), Names(inside_example=["192.168.0.7"], both_example=["8.8.8.8", "10.0.0.9"]))
    with pytest.raises(TargetRefusedError) as caught:
        guard.check_url(url)
    assert str(caught.value) == text


def test_a_public_name_and_a_public_address_are_fine() -> None:
    guard = TargetGuard((), Names(api_example=["8.8.8.8"]))
    guard.check_url("https://api.example/hook")
    guard.check_url("https://8.8.8.8/hook")


def test_an_allowed_range_lets_its_addresses_and_names_through_and_no_others() -> None:
    guard = TargetGuard(LOOPBACK, Names(here_example=["127.0.0.1"], there_example=["10.0.0.1"]))
    for fine in (
        "http://127.0.0.1:9000/",
        "http://localhost:9000/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://here.example/",
    ):
        guard.check_url(fine)
    for refused in ("http://there.example/", "http://10.0.0.1/"):
        with pytest.raises(TargetRefusedError):
            guard.check_url(refused)


def test_a_name_that_does_not_resolve_is_accepted_because_delivery_checks_again() -> None:
    TargetGuard((), Names()).check_url("http://nobody.example/")


def test_a_resolver_that_hangs_is_not_waited_for() -> None:
    release = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        release.wait(10)
        return []

    guard = TargetGuard((), hang, lookup_seconds=0.05, batch_seconds=0.1)
    began = time.monotonic()
    guard.check_url("http://slow.example/")
    assert guard.check_urls(f"http://slow{n}.example/" for n in range(50)) == [None] * 50
    assert time.monotonic() - began < 1
    release.set()


def test_a_resolver_that_breaks_does_not_break_the_guard() -> None:
    def broken(*_: Any, **__: Any) -> list[Any]:
        raise RuntimeError("no")

    TargetGuard((), broken).check_url("http://any.example/")


def test_a_name_is_looked_up_once_a_minute() -> None:
    now = [0.0]
    names = Names(in_example=["10.0.0.1"])
    guard = TargetGuard((), names, clock=lambda: now[0])
    for _ in range(3):
        with pytest.raises(TargetRefusedError):
            guard.check_url("http://in.example/")
    assert names.asked == ["in.example"]
    names.addresses["in.example"] = ["8.8.8.8"]
    now[0] = 60.0
    guard.check_url("http://in.example/")
    assert len(names.asked) == 2


def test_an_unknown_name_is_asked_for_again_after_a_few_seconds() -> None:
    now = [0.0]
    names = Names()
    guard = TargetGuard((), names, clock=lambda: now[0])
    guard.check_url("http://new.example/")
    guard.check_url("http://new.example/")
    assert len(names.asked) == 1
    now[0] = 5.0
    guard.check_url("http://new.example/")
    assert len(names.asked) == 2


def test_the_cache_is_bounded() -> None:
    guard = TargetGuard((), Names(**{f"n{n}_example": ["8.8.8.8"] for n in range(50)}), cache_size=10)
    guard.check_urls(f"http://n{n}.example/" for n in range(50))
    assert len(guard._verdicts._entries) == 10


def test_a_batch_is_answered_in_order_and_each_name_is_asked_for_once() -> None:
    names = Names(a_example=["8.8.8.8"], b_example=["10.1.1.1"])
    urls = [
        "http://a.example/1",
        "http://b.example/1",
        "nonsense",
        "http://a.example/2",
        "http://b.example/1",
        "http://127.1/",
    ]
    refusals = TargetGuard((), names).check_urls(urls)
    assert [None if refusal is None else str(refusal) for refusal in refusals] == [
        None,
        "b.example leads to 10.1.1.1, which is not an allowed address (private)",
        "the URL does not start with http:// or https://",
        None,
        "b.example leads to 10.1.1.1, which is not an allowed address (private)",
        "127.0.0.1 is not an allowed address (loopback)",
    ]
    assert sorted(names.asked) == ["a.example", "b.example"]
