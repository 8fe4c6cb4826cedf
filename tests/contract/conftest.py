"""The contract that producers see, over HTTP, from one source against any system that runs.

Without more said, the embedded stack is started for these tests and ended with them. With `CONTRACT_URL` a system that
runs already is used, and nothing is started:

    CONTRACT_URL=http://127.0.0.1:3000                      where its API is
    CONTRACT_DATABASE_URL=postgresql://owner:...@127.0.0.1:5432/scheduler   its database, as the schema's owner: keys
                                                            and merchants of the tests' own are made in it
    CONTRACT_ECHO_URL=http://127.0.0.1:3001                 an echo receiver (`dev/echo.py`), as the tests reach it
    CONTRACT_TARGET_URL=http://echo:3001                    the same one as deliveries reach it (default: the same)
    CONTRACT_GATEWAY=local                                  whose gateway it is: `local` (make dev, docker compose),
                                                            `sam`, or `aws`; they differ where the documents say so
    CONTRACT_PATIENCE_SECONDS=20                            how long a delivery may take before a test fails

    .venv/bin/python -m pytest tests/contract

The system must allow the echo's network as a target (ALLOWED_TARGET_NETWORKS) and fire its schedules. The tests work
with merchants of their own and leave other data alone; they may be repeated.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from bench.stack import own_stack
from scheduler_core.clock import utc_now
from scheduler_core.domain.ids import uuid7
from scheduler_core.security.api_keys import PERMISSIONS
from scheduler_core.storage import merchants
from scheduler_core.storage.database import Database, Role
from tests.contract.system import Caller, Echo, System

_ANOTHER_GATEWAY = "CONTRACT_GATEWAY says local, sam or aws"


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """What is tested."""
    if os.environ.get("CONTRACT_URL"):
        yield _given()
        return
    with tempfile.TemporaryDirectory(prefix="task-scheduler-contract-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with own_stack(Path(folder)) as stack:
            facts = stack.facts
            yield System(
                url=facts["url"],
                database_url=facts["database_url"],
                echo_url=facts["echo_url"],
                target_url=facts["echo_url"],
                gateway="local",
                patience_seconds=20.0,
            )


def _given() -> System:
    given = os.environ
    gateway = given.get("CONTRACT_GATEWAY", "local")
    assert gateway in {"local", "sam", "aws"}, _ANOTHER_GATEWAY
    return System(
        url=given["CONTRACT_URL"],
        database_url=given["CONTRACT_DATABASE_URL"],
        echo_url=given["CONTRACT_ECHO_URL"],
        target_url=given.get("CONTRACT_TARGET_URL") or given["CONTRACT_ECHO_URL"],
        gateway=gateway,
        patience_seconds=float(given.get("CONTRACT_PATIENCE_SECONDS", "20")),
    )


@pytest.fixture(scope="session")
def base_url(system: System) -> str:
    """Where the API is."""
    return system.url


@pytest.fixture(scope="session")
def merchant_id(system: System) -> UUID:
    """A merchant of the tests' own."""
    return _new_merchant(system)


@pytest.fixture(scope="session")
def caller(system: System, merchant_id: UUID) -> Iterator[Caller]:
    """A producer with a good key that may do everything."""
    with system.caller(system.key(merchant_id, permissions=PERMISSIONS)) as caller:
        yield caller


@pytest.fixture(scope="session")
def stranger(system: System) -> Iterator[Caller]:
    """A producer of another merchant, with as good a key."""
    with system.caller(system.key(_new_merchant(system), permissions=PERMISSIONS)) as caller:
        yield caller


@pytest.fixture(scope="session")
def echo(system: System) -> Iterator[Echo]:
    """The receiver of deliveries."""
    with httpx.Client(base_url=system.echo_url, timeout=10, trust_env=False) as client:
        yield Echo(client, system.target_url, system.patience_seconds)


def _new_merchant(system: System) -> UUID:
    now = utc_now()
    new = uuid7(now, os.urandom(10))
    database = Database(system.database_url, Role.WORKER)
    try:
        with database.transaction() as connection:
            return merchants.create(connection, new, name=f"contract {new}", now=now).id
    finally:
        database.close()
