"""What can go wrong, as classes. One table in the API turns them into HTTP; a class's docstring is its title there."""


class SchedulerError(Exception):
    """The scheduler could not do what was asked."""


class NotFoundError(SchedulerError):
    """There is no such resource."""


class StaleTransitionError(SchedulerError):
    """The state has moved on and does not allow this."""


class ConflictError(SchedulerError):
    """Another resource stands in the way."""


class IdempotencyMismatchError(SchedulerError):
    """This idempotency key was used with another body."""


class TargetRefusedError(SchedulerError):
    """This target is not allowed."""


class InvalidScheduleError(SchedulerError):
    """This schedule cannot be understood."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason = reason
        self.field = field


class RateLimitedError(SchedulerError):
    """Too many requests."""


class StoreUnavailableError(SchedulerError):
    """A store does not answer."""


class DatabaseUnavailableError(StoreUnavailableError):
    """The database does not answer."""


class StatementAbortedError(DatabaseUnavailableError):
    """PostgreSQL is there and has given this statement up, all of it: its time was up, a deadlock, no room."""


class QueueUnavailableError(StoreUnavailableError):
    """The ready queue does not answer."""


class SecretUnavailableError(StoreUnavailableError):
    """A secret cannot be read, or is not what it should be. The text names it and the cause, never its value."""


class MigrationError(SchedulerError):
    """The migrations do not fit the database."""
