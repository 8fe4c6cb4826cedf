"""Asks for jobs at a steady rate over several connections, so that asking never waits for an answer."""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from cli.client import ApiClient
from scheduler_core.clock import monotonic, utc_now

CONNECTIONS: Final = 8


def post_at_rate(
    api: ApiClient,
    body_of: Callable[[int, datetime], dict[str, Any]],
    scheduled: dict[str, datetime],
    *,
    jobs: int,
    rate: float,
    posted: Callable[[], None],
) -> float:
    """POST /jobs `jobs` times, `rate` a second; the first failure ends it and is raised.

    `body_of(number, now)` makes a body at the moment of its posting. `scheduled` fills with what the API has accepted:
    when each job is due, by id; `posted` is called after each, by any thread. Answers how far behind its turn the
    slowest request went out, in seconds.
    """
    turns = _Turns(jobs)
    failures: list[BaseException] = []
    lags: list[float] = [0.0]
    began = monotonic()

    def work() -> None:
        while not failures and (number := turns.next()) is not None:
            turn = began + number / rate
            time.sleep(max(0.0, turn - monotonic()))
            lags.append(monotonic() - turn)
            try:
                job = api.call("POST", "/jobs", body=body_of(number, utc_now()))
            except Exception as error:  # noqa: BLE001 - raised again below, in the thread that waits
                failures.append(error)
                return
            scheduled[job["id"]] = datetime.fromisoformat(job["scheduled_at"])
            posted()

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(CONNECTIONS, jobs))]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except BaseException as error:
        failures.append(error)  # tells the others to stop
        raise
    if failures:
        raise failures[0]
    return max(lags)


class _Turns:
    """Numbers from 0, each given to one thread."""

    def __init__(self, count: int) -> None:
        self._numbers = iter(range(count))
        self._lock = threading.Lock()

    def next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)
