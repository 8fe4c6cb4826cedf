"""An executor whose process is asked to end claims no more, and has some time to finish what it delivers."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from scheduler_core.clock import monotonic


class StopRequest:
    """Set by SIGTERM; over when the deliveries under way have had their time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._over_at: float | None = None

    def ask(self) -> None:
        """Ask; asking again changes nothing."""
        if self._over_at is None:
            self._over_at = monotonic() + self._seconds

    def is_set(self) -> bool:
        """Whether nothing more is to be claimed."""
        return self._over_at is not None

    def is_over(self) -> bool:
        """Whether what is still under way is to be given back."""
        return self._over_at is not None and monotonic() >= self._over_at


@contextmanager
def stop_request(seconds: float) -> Iterator[StopRequest]:
    """SIGTERM means this inside the context; in threads other than the main one there are no signals."""
    request = StopRequest(seconds)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.signal(signal.SIGTERM, lambda *_: request.ask())
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
