"""The epoll set, with descriptors that come and go as libcurl's do."""

import os
import socket
import threading
import time
from collections.abc import Iterator

import pycurl
import pytest

from scheduler_core.delivery.sockets import Sockets


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    watched = Sockets()
    yield watched
    watched.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def watch(sockets: Sockets, what: int, fd: int) -> None:
    sockets.watch(what, fd, None, None)


def test_libcurl_is_told_what_stirs(sockets: Sockets, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    watch(sockets, pycurl.POLL_IN, ours.fileno())
    assert sockets.wait(0) == []
    theirs.send(b"x")
    assert sockets.wait(0) == [(ours.fileno(), pycurl.CSELECT_IN)]
    watch(sockets, pycurl.POLL_INOUT, ours.fileno())
    assert sockets.wait(0) == [(ours.fileno(), pycurl.CSELECT_IN | pycurl.CSELECT_OUT)]
    theirs.close()
    ((_, selected),) = sockets.wait(0)
    assert selected & pycurl.CSELECT_ERR


def test_an_idle_connection_that_stirs_is_forgotten_and_does_not_keep_the_loop_awake(
    sockets: Sockets, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    watch(sockets, pycurl.POLL_IN, ours.fileno())
    watch(sockets, pycurl.POLL_REMOVE, ours.fileno())
    theirs.close()
    assert sockets.wait(0) == []
    assert not sockets._registered
    assert sockets._epoll.poll(0) == []


def test_a_recycled_descriptor_is_watched_anew(sockets: Sockets) -> None:
    first, first_peer = socket.socketpair()
    fd = first.fileno()
    watch(sockets, pycurl.POLL_IN, fd)
    watch(sockets, pycurl.POLL_REMOVE, fd)
    first.close()
    second, second_peer = socket.socketpair()
    if second.fileno() != fd:
        os.dup2(second.fileno(), fd)
        second.close()
        second = socket.socket(fileno=fd)
    with first_peer, second, second_peer:
        sockets.opened(fd)
        watch(sockets, pycurl.POLL_IN, fd)
        second_peer.send(b"x")
        assert sockets.wait(0) == [(fd, pycurl.CSELECT_IN)]


@pytest.mark.parametrize("announced", [True, False])
def test_a_set_that_disagrees_with_the_kernel_mends_itself(
    sockets: Sockets, pair: tuple[socket.socket, socket.socket], *, announced: bool
) -> None:
    ours, theirs = pair
    watch(sockets, pycurl.POLL_OUT, ours.fileno())
    if announced:
        sockets.opened(ours.fileno())
    else:
        sockets._epoll.unregister(ours.fileno())
    watch(sockets, pycurl.POLL_IN, ours.fileno())
    theirs.send(b"x")
    assert sockets.wait(0) == [(ours.fileno(), pycurl.CSELECT_IN)]


def test_an_older_libcurls_descriptors_are_forgotten_at_once(
    sockets: Sockets, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Its resolver makes a descriptor for each look-up and announces none of them."""
    sockets._keeps = False
    watch(sockets, pycurl.POLL_IN, pair[0].fileno())
    watch(sockets, pycurl.POLL_REMOVE, pair[0].fileno())
    watch(sockets, pycurl.POLL_REMOVE, 1_000_000)
    assert not sockets._registered


def test_the_bell_ends_the_wait_from_another_thread(sockets: Sockets) -> None:
    began = time.monotonic()
    threading.Timer(0.05, sockets.ring).start()
    assert sockets.wait(5) == []
    assert time.monotonic() - began < 2
    assert sockets.wait(0) == []


def test_ringing_after_the_end_touches_no_descriptor() -> None:
    sockets = Sockets()
    sockets.close()
    sockets.ring()
