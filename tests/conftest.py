"""The servers that tests run against: a real PostgreSQL and a real Redis, once for each session, ended with it."""

import contextlib
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql

from dev import processes
from dev.postgres import PostgresServer
from dev.redis import RedisServer
from tests.emulators import (  # noqa: F401 - fixtures for every test
    aws,
    aws_on_localstack,
    aws_on_moto,
    emulator,
    localstack_server,
    moto_server,
)
from tests.secret_store import SecretStore, keeping_secrets

ROOT = Path(__file__).parents[1]
MIGRATIONS = ROOT / "migrations"
_PREFIX = "task-scheduler-tests-"
_TEMPLATE = "migrated"
_ROOM_BYTES = 4 * 1024**3


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A short-lived folder for the session's servers. Those of sessions that were killed are cleared away."""
    root = _fast_folder()
    for leftover in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(ValueError, OSError):
            if not processes.lives(int(leftover.name.split("-")[3])):
                _end_servers_below(leftover)
                shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=root))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _fast_folder() -> Path:
    """Memory, where there is enough: cloning a database for each test takes a tenth of the time there."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it, by mkdtemp
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM_BYTES:
        return memory
    return Path(tempfile.gettempdir())


def _end_servers_below(folder: Path) -> None:
    for pid_file in (*folder.rglob("postmaster.pid"), *folder.rglob("redis.pid")):
        pid = int(pid_file.read_text(encoding="utf-8").split()[0])
        command = " ".join(processes.command_of(pid))
        if str(folder) in command or "redis-server 127.0.0.1" in command:
            processes.end(pid, signal.SIGINT)


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[PostgresServer]:
    """The session's PostgreSQL, with a migrated database to clone."""
    server = PostgresServer(server_folder, durable=False)
    server.start()
    try:
        with _administer(server) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
        _migrate(server.url_of(_TEMPLATE))
        yield server
    finally:
        server.stop()


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The owner's URL of a fresh, migrated database; dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    clone = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    with _administer(postgres_server) as connection:
        connection.execute(clone.format(sql.Identifier(name), sql.Identifier(_TEMPLATE)))
    yield postgres_server.url_of(name)
    if postgres_server.pid is None:
        postgres_server.start()
    with _administer(postgres_server) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakablePostgres:
    """The session's PostgreSQL in the hands of one test, which may break it; it runs again afterwards."""

    url: str
    _server: PostgresServer

    def stop(self) -> None:
        """Fast shutdown."""
        self._server.stop()

    def start(self) -> None:
        """Start again, on the same port, with the same data."""
        self._server.start()

    def restart(self) -> None:
        """Stop and start."""
        self._server.restart()

    def kill(self) -> None:
        """Crash."""
        self._server.kill()


@pytest.fixture
def postgres(postgres_server: PostgresServer, database_url: str) -> BreakablePostgres:
    """The server behind `database_url`, to be stopped and started."""
    return BreakablePostgres(url=database_url, _server=postgres_server)


@pytest.fixture(scope="session")
def shared_redis(server_folder: Path) -> Iterator[RedisServer]:
    """The session's Redis."""
    server = RedisServer(server_folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """The URL of an empty Redis."""
    with redis.Redis.from_url(shared_redis.url) as client:
        client.flushall()
    return shared_redis.url


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of one test's own, to be stopped, restarted and killed."""
    server = RedisServer(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def hanging(server: RedisServer) -> Iterator[None]:
    """It takes connections and keeps its data, but answers nobody until the block's end."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.fixture(scope="session")
def secret_store() -> Iterator[SecretStore]:
    """The session's Secrets Manager."""
    with keeping_secrets() as store:
        yield store


def _administer(server: PostgresServer) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(server.url_of("postgres"), autocommit=True)


def _migrate(url: str) -> None:
    try:
        from scheduler_core.storage.migrations import apply_migrations
    except ModuleNotFoundError:
        with psycopg.connect(url) as connection:
            for file in sorted(MIGRATIONS.glob("*.sql")):
                connection.execute(file.read_bytes())
        return
    apply_migrations(url, MIGRATIONS)
    from tests.builders import NOW

    with psycopg.connect(url) as connection:  # the migrations know the weeks around today, the tests live around NOW
        connection.execute("SELECT add_partitions(%s, %s)", (NOW - timedelta(weeks=1), NOW + timedelta(weeks=4)))
