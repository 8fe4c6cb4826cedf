"""Structured logs. What happens to jobs is logged as named events, which the development console reads."""

from typing import Any

from aws_lambda_powertools import Logger

logger = Logger()


def log_event(name: str, message: str, **fields: Any) -> None:
    """Log that `name` happened (`job.created`, `job.ended`, ...). Never pass a payload, a secret or a header."""
    logger.info(message, extra={"event": name, **fields})
