"""The executor's process, which tests share, as if each test's were a new one."""

from executor import handler


def forget_what_is_kept() -> None:
    """Close what one invocation would hand on to the next."""
    if handler._kept.cache_info().currsize:
        for database in handler._kept()._databases.values():
            database.close()
    handler._kept.cache_clear()
