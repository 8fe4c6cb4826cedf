"""What each function must import to do its work, and what its handler's import costs beside that.

`NEEDED` is the list that the report and the tests share. A third-party package stands here if the function's ordinary
invocation uses it; everything else that a handler's import loads is ours to keep small.
"""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

STATEMENTS: Final[Mapping[str, str]] = {
    "powertools": "from aws_lambda_powertools import Logger",
    "powertools.event_handler": (
        "from aws_lambda_powertools.event_handler import APIGatewayHttpResolver; "
        "import aws_lambda_powertools.event_handler.middlewares.openapi_validation"
    ),
    "psycopg": "import psycopg",
    "pycurl": "import pycurl",
    "pydantic": "from pydantic import BaseModel, Field, SecretStr",
    "pydantic_settings": "from pydantic_settings import BaseSettings",
    "redis": "import redis",
}
"""Bare imports by name, as narrow as they are used."""

_STORES: Final = ("powertools", "pydantic", "pydantic_settings", "psycopg")
NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "api": (*_STORES, "powertools.event_handler"),
    "authorizer": _STORES,
    "executor": (*_STORES, "redis", "pycurl"),
    "migrator": _STORES,
    "populator": (*_STORES, "redis", "pycurl"),
    "recurrence": (*_STORES, "redis", "pycurl"),
    "watcher": (*_STORES, "redis", "pycurl"),
}
"""For each function the names of the imports that it cannot do without."""

UNUSED: Final = (
    "boto3",
    "botocore.session",
    "croniter",
    "aiohttp",
    "httpx",
    "requests",
    "urllib3",
    "aws_lambda_powertools.event_handler.openapi.models",
    "aws_lambda_powertools.event_handler.openapi.swagger_ui",
    "scheduler_core.delivery.aws",
)
"""Modules that no handler's import loads: they wait for the one who uses them."""

MOST_RATIO: Final = 1.25
"""The most that a handler's import may cost, as a multiple of the bare imports it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCost:
    """One function's import, measured beside what it needs, each as the best of several fresh processes."""

    function: str
    whole_seconds: float
    needed_seconds: float
    """All that it needs, imported together in one process: less than the sum of them one by one."""

    @property
    def ratio(self) -> float:
        return self.whole_seconds / self.needed_seconds


def handler_statement(function: str) -> str:
    """The import of a function's handler."""
    return f"import {function}.handler"


def needed_statement(function: str) -> str:
    """All imports that the function needs."""
    return "; ".join(STATEMENTS[name] for name in NEEDED[function])


def measure(function: str, *, rounds: int = 5, python: str = sys.executable) -> ImportCost:
    """Both imports in turn, `rounds` times, each in a fresh process of `python`, after one that is not counted."""
    whole, needed = handler_statement(function), needed_statement(function)
    for statement in (whole, needed):
        seconds_of(statement, python=python)  # writes the bytecode
    timed = [(seconds_of(whole, python=python), seconds_of(needed, python=python)) for _ in range(rounds)]
    return ImportCost(
        function=function, whole_seconds=min(w for w, _ in timed), needed_seconds=min(n for _, n in timed)
    )


def seconds_of(statement: str, *, python: str = sys.executable) -> float:
    """Processor time that a statement takes in a fresh process, in seconds. Raises CalledProcessError."""
    program = f"import time\nbegan = time.process_time()\n{statement}\nprint(time.process_time() - began)"
    return float(_output(program, python).split()[-1])


def modules_of(function: str, *, python: str = sys.executable) -> set[str]:
    """Every module that is loaded once the function's handler is imported. Raises CalledProcessError."""
    return set(_output(f"import sys\n{handler_statement(function)}\nprint(*sys.modules)", python).split())


def _output(program: str, python: str) -> str:
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout  # noqa: S603 - ours
