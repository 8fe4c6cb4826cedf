"""AWS Secrets Manager, as moto serves it over HTTP, and a PostgreSQL user whose password can be changed."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import psycopg
from moto.server import ThreadedMotoServer
from psycopg import sql

REGION = "eu-central-1"
AWKWARD = "p@ss'w\\ö rd:/?#[]%41\"={}&+"
"""A password with everything in it that a URL or a connection string would have to escape."""


@dataclass(frozen=True, slots=True)
class SecretStore:
    """Where secrets are kept; `url` is its endpoint."""

    url: str

    def client(self) -> Any:
        """boto3's view of it."""
        name: Any = "secretsmanager"
        return boto3.client(
            name, region_name=REGION, endpoint_url=self.url, aws_access_key_id="test", aws_secret_access_key="test"
        )

    def keep(self, value: str) -> str:
        """A new secret; answers its ARN."""
        made = self.client().create_secret(Name=f"scheduler/{uuid.uuid4().hex}", SecretString=value)
        return str(made["ARN"])

    def change(self, arn: str, value: str) -> None:
        """A new version, current at once."""
        self.client().put_secret_value(SecretId=arn, SecretString=value)


@contextmanager
def keeping_secrets() -> Iterator[SecretStore]:
    """The store for as long as the context lasts."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield SecretStore(f"http://{host}:{port}")
    finally:
        server.stop()


@dataclass(frozen=True, slots=True)
class DatabaseUser:
    """A user of the database behind `owner_url` who may act as the scheduler's roles."""

    owner_url: str
    name: str

    def as_rds(self, password: str, **more: object) -> str:
        """The secret that RDS would make: where it manages it, only user and password."""
        return json.dumps({"username": self.name, "password": password, **more})

    def set_password(self, password: str) -> None:
        """From now on; connections that are open stay open."""
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(self.name), sql.Literal(password)))

    def hang_up(self) -> None:
        """End every connection that the user has; they are gone when this returns."""
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [self.name]
            )

    def place(self) -> dict[str, str]:
        """The environment that says where the database is."""
        parts = urlsplit(self.owner_url)
        return {
            "DATABASE_HOST": parts.hostname or "",
            "DATABASE_PORT": str(parts.port),
            "DATABASE_NAME": parts.path.strip("/"),
            "DATABASE_SSLMODE": "disable",
        }


@contextmanager
def database_user(owner_url: str, password: str) -> Iterator[DatabaseUser]:
    """A user with this password for as long as the context lasts."""
    user = DatabaseUser(owner_url, f"user_{uuid.uuid4().hex}")
    name = sql.Identifier(user.name)
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        connection.execute(sql.SQL("GRANT scheduler_api, scheduler_worker TO {}").format(name))
    user.set_password(password)
    try:
        yield user
    finally:
        user.hang_up()
        with psycopg.connect(owner_url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(name))
