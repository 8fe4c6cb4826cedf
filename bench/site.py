"""Where everything happens: one PostgreSQL, one Redis and one receiver, for all contenders of a run."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis
from psycopg import sql

from bench.nginx import Nginx
from dev.local_environment import ROOT
from dev.postgres import PostgresServer
from dev.redis import RedisServer
from scheduler_core.storage.migrations import apply_migrations


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The stores as their owners see them, and the receiver."""

    folder: Path
    postgres: PostgresServer
    redis: RedisServer
    receiver: Nginx
    signing_key: str

    @property
    def stores(self) -> Mapping[str, str]:
        """What our functions are told."""
        return {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url, "SIGNING_KEY": self.signing_key}

    def fresh_database(self, name: str) -> str:
        """The owner's URL of an empty database for a contender."""
        with psycopg.connect(self.postgres.url_of("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.postgres.url_of(name)

    def flush_redis(self) -> None:
        """Empty it."""
        with redis.Redis.from_url(self.redis.url) as client:
            client.flushall()

    def versions(self) -> dict[str, str]:
        """Of the servers."""
        with psycopg.connect(self.postgres.url) as connection:
            row = connection.execute("SHOW server_version").fetchone()
        with redis.Redis.from_url(self.redis.url) as client:
            info = client.info("server")
        return {
            "PostgreSQL": str(row[0]) if row else "",
            "Redis": str(info["redis_version"]),
            "nginx": self.receiver.version(),
        }


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """All of it for the time of the block, durable as an installation is; our database migrated."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    with ExitStack() as ending:
        postgres, redis_server = PostgresServer(folder / "servers"), RedisServer(folder / "servers")
        for server in (postgres, redis_server):
            ending.callback(server.stop)
            server.start()
        receiver = ending.enter_context(Nginx(folder / "nginx"))
        apply_migrations(postgres.url, ROOT / "migrations")
        yield Site(
            folder=folder,
            postgres=postgres,
            redis=redis_server,
            receiver=receiver,
            signing_key=secrets.token_urlsafe(48),
        )
