"""libcurl's multi interface with nothing around it: the yardstick of every delivery through libcurl."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import pycurl

_MOST: Final = 900
"""select() below stops at descriptor 1,023."""


class Transfers:
    """Posts the same body again and again, `at_once` at a time; only the job's id differs."""

    def __init__(self, url: str, payload: str, at_once: int) -> None:
        self._multi = pycurl.CurlMulti()
        self._curls = [self._curl(url, payload) for _ in range(min(at_once, _MOST))]

    def run(self, job_ids: Iterable[str], done: Callable[[str], None]) -> None:
        """Post once for each id; `done` is called after each. Raises RuntimeError at the first failure."""
        waiting = iter(job_ids)
        under_way = 0
        for curl in self._curls:
            under_way += self._start(curl, waiting)
        while under_way:
            self._multi.perform()
            _, completed, failed = self._multi.info_read(len(self._curls))
            if failed:
                raise RuntimeError(f"a transfer failed: {failed[0][2]}")
            for curl in completed:
                self._multi.remove_handle(curl)
                done(curl.job_id)
                under_way += self._start(curl, waiting) - 1
            if not completed:
                self._multi.select(0.1)

    def _start(self, curl: pycurl.Curl, waiting: Iterator[str]) -> int:
        job_id = next(waiting, None)
        if job_id is None:
            return 0
        curl.job_id = job_id
        curl.setopt(pycurl.HTTPHEADER, ["content-type: application/json", f"webhook-id: {job_id}"])
        self._multi.add_handle(curl)
        return 1

    @staticmethod
    def _curl(url: str, payload: str) -> pycurl.Curl:
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.POSTFIELDS, payload)
        curl.setopt(pycurl.WRITEFUNCTION, lambda _: None)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROXY, "")
        return curl
