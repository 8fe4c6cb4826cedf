"""Counts finished jobs in a worker's process and tells the benchmark through a file: nothing in the way of the worker.

The file of each process holds `count first last`, the moments by the machine's monotonic clock in seconds.
"""

import os
import threading
import time
from pathlib import Path

_EVERY_SECONDS = 0.05


class Tally:
    """For one process; made at its first job, so that a forked child has its own."""

    def __init__(self, folder):
        self._file = Path(folder) / f"{os.getpid()}.tally"
        self._count = 0
        self._first = 0.0
        self._last = 0.0
        self._told = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._tell, daemon=True).start()

    def add(self):
        now = time.monotonic()
        with self._lock:
            if not self._count:
                self._first = now
            self._last = now
            self._count += 1

    def _tell(self):
        while True:
            time.sleep(_EVERY_SECONDS)
            if self._count != self._told:
                count = self._count
                written = self._file.with_suffix(".new")
                written.write_text(f"{count} {self._first} {self._last}")
                written.rename(self._file)
                self._told = count


_tallies = {}
_lock = threading.Lock()


def add(folder):
    """One more job is done in this process."""
    tally = _tallies.get(os.getpid())
    if tally is None:
        with _lock:
            tally = _tallies.get(os.getpid())
            if tally is None:
                tally = _tallies[os.getpid()] = Tally(folder)
    tally.add()
