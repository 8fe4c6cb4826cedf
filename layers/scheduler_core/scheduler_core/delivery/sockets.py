"""Which sockets libcurl waits for, kept in an epoll set: no limit at descriptor 1,024, and no cost for idle ones.

A kept-alive connection stays in the set between two transfers, which saves two system calls for each. That is safe
because every new connection is announced (`opened`), so a recycled descriptor is never mistaken for the old one.
"""

import os
import select
import threading
from contextlib import suppress
from typing import Any, Final

import pycurl

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_MASKS: Final = {pycurl.POLL_IN: _IN, pycurl.POLL_OUT: _OUT, pycurl.POLL_INOUT: _IN | _OUT}
_MOST_EVENTS: Final = 1_024
_LASTING_WAKEUP_VERSION: Final = 0x08_17_00
"""From libcurl 8.23 on the resolver's descriptor, the only one that is not announced, lasts as long as the handle."""


class Sockets:
    """The epoll set of one multi handle, and a descriptor by which other threads end the wait."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell_lock = threading.Lock()
        self._epoll.register(self._bell, _IN)
        self._registered: dict[int, int] = {}
        self._wanted: dict[int, int] = {}
        self._keeps = pycurl.version_info()[2] >= _LASTING_WAKEUP_VERSION

    def close(self) -> None:
        """Give up the descriptors."""
        self._epoll.close()
        with self._bell_lock:
            os.close(self._bell)
            self._bell = -1

    def ring(self) -> None:
        """End the wait, from any thread. After `close` nobody listens: the descriptor may be another's by then."""
        with self._bell_lock:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def watch(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        """libcurl's socket callback: what it waits for on `fd` from now on."""
        mask = _MASKS.get(what, 0)
        self._wanted[fd] = mask
        if not mask:
            if not self._keeps:
                self._forget(fd)
            return
        known = self._registered.get(fd)
        if known == mask:
            return
        self._registered[fd] = mask
        try:
            if known is None:
                self._epoll.register(fd, mask)
            else:
                self._epoll.modify(fd, mask)
        except FileExistsError:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:
            self._epoll.register(fd, mask)

    def opened(self, fd: int) -> None:
        """`fd` is a new connection, whatever had its number before."""
        self._registered.pop(fd, None)

    def wait(self, seconds: float) -> list[tuple[int, int]]:
        """Wait for events, at most `seconds` (whole milliseconds, rounded up): (descriptor, what to tell libcurl)."""
        ready: list[tuple[int, int]] = []
        for fd, event in self._epoll.poll(seconds, _MOST_EVENTS):
            if self._wanted.get(fd):
                if event == _IN:
                    ready.append((fd, pycurl.CSELECT_IN))
                else:
                    ready.append((fd, _selected(event)))
            elif fd == self._bell:
                os.eventfd_read(self._bell)
            else:
                self._forget(fd)  # an idle connection was closed by the other side; libcurl sees that on its next use
        return ready

    def _forget(self, fd: int) -> None:
        self._wanted.pop(fd, None)
        if self._registered.pop(fd, None) is not None:
            with suppress(OSError):  # closed, and so out of the set already
                self._epoll.unregister(fd)


def _selected(event: int) -> int:
    selected = 0
    if event & _IN:
        selected |= pycurl.CSELECT_IN
    if event & _OUT:
        selected |= pycurl.CSELECT_OUT
    if event & ~(_IN | _OUT):
        selected |= pycurl.CSELECT_ERR
    return selected
