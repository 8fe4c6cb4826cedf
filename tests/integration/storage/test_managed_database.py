"""Where somebody else runs PostgreSQL (RDS, Aurora) the owner is no superuser: it may make roles and databases.

A server of its own, because roles belong to a whole server and here the migrations have to make them.
"""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from dev.postgres import PostgresServer
from scheduler_core.domain.errors import MigrationError
from scheduler_core.storage import upkeep
from scheduler_core.storage.database import Database, Role
from scheduler_core.storage.migrations import apply_migrations
from tests.builders import rows, store_jobs, store_merchant
from tests.conftest import MIGRATIONS

LATER = datetime(2031, 5, 14, 12, tzinfo=UTC)
RETENTION = timedelta(days=30)
_AS_RDS = """
CREATE ROLE rds_superuser NOLOGIN;
GRANT pg_monitor, pg_signal_backend, pg_checkpoint TO rds_superuser WITH ADMIN OPTION;
CREATE ROLE master LOGIN NOSUPERUSER NOBYPASSRLS CREATEROLE CREATEDB PASSWORD 'made up' IN ROLE rds_superuser;
CREATE ROLE second LOGIN NOSUPERUSER NOBYPASSRLS CREATEROLE CREATEDB PASSWORD 'made up';
"""


@pytest.fixture(scope="module")
def managed(server_folder: Path) -> Iterator[PostgresServer]:
    """A server whose users are what RDS makes them."""
    server = PostgresServer(server_folder / "managed", durable=False)
    (server_folder / "managed").mkdir(mode=0o711)
    server.start()
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(_AS_RDS)
        yield server
    finally:
        server.stop()


def own_database(server: PostgresServer, owner: str) -> str:
    """The URL of a new, empty database as its owner."""
    name = f"managed_{uuid.uuid4().hex}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER {owner}".encode())
    return f"postgresql://{owner}:made up@{server.url_of(name).split('@')[1]}".replace(" ", "%20")


@pytest.fixture
def url(managed: PostgresServer) -> str:
    """A migrated database of the master's."""
    url = own_database(managed, "master")
    assert apply_migrations(url, MIGRATIONS)[0] == "001_consolidated_schema.sql"
    return url


def test_the_owner_makes_the_roles_and_acts_as_them(url: str) -> None:
    for role in Role:
        database = Database(url, role)
        with database.transaction() as connection:
            assert connection.execute("SELECT current_user::text").fetchone() == (role.value,)
        database.close()


def test_a_role_that_one_has_made_is_not_ones_own_until_it_is_granted(url: str) -> None:
    """PostgreSQL 16 and newer: ADMIN comes with CREATE ROLE, SET only with the GRANT that follows."""
    grants = rows(
        url,
        "SELECT grantor::regrole::text, admin_option, set_option FROM pg_auth_members "
        "WHERE roleid = 'scheduler_worker'::regrole AND member = 'master'::regrole ORDER BY 1",
    )
    assert {"grantor": "master", "admin_option": False, "set_option": True} in grants


def test_i7_the_walls_stand(url: str) -> None:
    merchant = store_merchant_as_worker(url)
    store_merchant_as_worker(url)
    assert len(rows(url, "SELECT id FROM merchants")) == 2, "the owner is a member of scheduler_worker"
    database = Database(url, Role.API)
    with database.of_merchant(merchant) as connection:
        assert connection.execute("SELECT id FROM merchants").fetchall() == [(merchant,)]
    with database.transaction() as connection:
        assert connection.execute("SELECT id FROM merchants").fetchall() == []
    database.close()


def test_partitions_are_made_filled_and_dropped(url: str) -> None:
    merchant = store_merchant_as_worker(url)
    database = Database(url, Role.WORKER)
    [early] = store_jobs_as_worker(url, merchant, LATER)
    with database.transaction() as connection:
        made, _ = upkeep.keep_partitions(connection, now=LATER, retention=RETENTION)
    assert made == 15
    assert part_of(database, early) == "jobs_2031w20"
    with database.transaction() as connection:
        _, dropped = upkeep.keep_partitions(connection, now=LATER + timedelta(days=40), retention=RETENTION)
    assert dropped >= 1
    assert part_of(database, early) == "jobs_default"
    database.close()


def test_a_second_installation_on_the_same_server_needs_the_roles_from_the_first(
    managed: PostgresServer, url: str
) -> None:
    second = own_database(managed, "second")
    with pytest.raises(MigrationError, match='permission denied to grant role "scheduler_api"'):
        apply_migrations(second, MIGRATIONS)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("GRANT scheduler_api, scheduler_worker TO second")
    assert apply_migrations(second, MIGRATIONS)[0] == "001_consolidated_schema.sql"


def test_a_database_that_belongs_to_another_is_refused_with_the_reason(managed: PostgresServer) -> None:
    foreign = own_database(managed, "master").replace("//master:", "//second:")
    with pytest.raises(MigrationError, match="has to be the owner of the database: permission denied"):
        apply_migrations(foreign, MIGRATIONS)


def store_merchant_as_worker(url: str) -> uuid.UUID:
    return store_merchant(as_worker(url))


def store_jobs_as_worker(url: str, merchant: uuid.UUID, now: datetime) -> list[uuid.UUID]:
    return store_jobs(as_worker(url), merchant, now=now, next_run_at=now + timedelta(days=400))


def as_worker(url: str) -> str:
    """What tests store, they store as the worker does."""
    return f"{url}?options=-c%20role%3Dscheduler_worker"


def part_of(database: Database, job: uuid.UUID) -> str:
    with database.transaction() as connection:
        found = connection.execute("SELECT tableoid::regclass::text FROM jobs WHERE id = %s", (job,)).fetchone()
    return str(found and found[0])
