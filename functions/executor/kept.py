"""What the invocations in one process, which come one after the other, hand on: connections, and what they know.

To connect to both stores, and to have PostgreSQL plan its statements anew, takes three times as long as everything else
that a woken executor does before its first delivery.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from executor.merchant_book import Entry
from executor.settings import ExecutorSettings
from scheduler_core.queueing.ready_set import ReadySet
from scheduler_core.storage.database import Database, Role


class Kept:
    """What is lent is nobody else's until it is given back; what is not given back is made anew for the next."""

    def __init__(self, settings: ExecutorSettings) -> None:
        """Nothing is connected yet. Raises ValueError for a Redis URL that is none."""
        self.settings = settings
        self.merchants: dict[UUID, Entry] = {}
        """What was looked up; each entry is used for a minute."""
        self._queue: ReadySet | None = ReadySet.connect(settings)
        self._databases: dict[str, Database] = {}

    @contextmanager
    def queue(self) -> Iterator[ReadySet]:
        """The ready set for one invocation. A block that raises leaves none behind."""
        queue, self._queue = self._queue or ReadySet.connect(self.settings), None
        try:
            yield queue
            queue.stop_listening()  # whoever listens counts as awake
        except BaseException:
            queue.close()
            raise
        self._queue = queue

    def database(self, part: str) -> Database:
        """A worker's connection for one part of one invocation. It has its statements planned if that part had it."""
        return self._databases.pop(part, None) or Database.connect(self.settings, Role.WORKER)

    def give_back(self, part: str, database: Database) -> None:
        """The thread that used it has ended."""
        self._databases[part] = database
