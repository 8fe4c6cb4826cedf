"""Merchants and keys where only functions reach the database: whoever may invoke this function is an operator.

Neither the arguments nor the answer are logged: the answer may hold a key or a webhook secret, which is shown once.
"""

import os
from collections.abc import Mapping
from typing import Any

from scheduler_core.clock import utc_now
from scheduler_core.domain.errors import DatabaseUnavailableError, SchedulerError
from scheduler_core.observability.log import logger
from scheduler_core.security.installation_key import installation_key
from scheduler_core.services.operating import Desk, operate
from scheduler_core.settings import DatabaseSettings, SigningSettings
from scheduler_core.storage.database import Database, Role


class OperatingSettings(SigningSettings):
    """What webhook secrets are derived from."""


def _installation_key() -> bytes:
    return installation_key(OperatingSettings())


def run(command: str, arguments: Mapping[str, Any], settings: DatabaseSettings) -> dict[str, Any]:
    """Answers `{"result": {...}}`, or `{"error": {"kind", "title", "detail"}}` where the operator can mend it.

    Raises DatabaseUnavailableError, and whatever is a fault of ours, so that the invocation counts as failed.
    """
    database = Database.connect(settings, Role.WORKER)
    try:
        with database.transaction() as connection:
            desk = Desk(connection, utc_now(), os.urandom, _installation_key)
            result = operate(command, arguments, desk)
    except DatabaseUnavailableError:
        raise
    except SchedulerError as error:
        return {"error": {"kind": type(error).__name__, "title": type(error).__doc__, "detail": str(error) or None}}
    finally:
        database.close()
    logger.info("operated", extra={"event": "operator.command", "command": command})
    return {"result": result}
