"""Migrations: once, under a lock, and only what was reviewed."""

import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from scheduler_core.domain.errors import DatabaseUnavailableError, MigrationError
from scheduler_core.storage.migrations import apply_migrations
from tests.builders import new_id, rows, store_merchant

ROOT = Path(__file__).parents[3]


@pytest.fixture
def empty_database_url(database_url: str) -> Iterator[str]:
    """A database without a schema."""
    name = f"empty_{uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield database_url.rsplit("/", 1)[0] + f"/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "001_first.sql").write_text("CREATE TABLE first (n int); INSERT INTO first VALUES (1);")
    (tmp_path / "002_second.sql").write_text("INSERT INTO first VALUES (2);")
    return tmp_path


def test_each_file_is_applied_once_and_in_order(empty_database_url: str, folder: Path) -> None:
    assert apply_migrations(empty_database_url, folder) == ["001_first.sql", "002_second.sql"]
    assert apply_migrations(empty_database_url, folder) == []
    assert rows(empty_database_url, "SELECT n FROM first ORDER BY n") == [{"n": 1}, {"n": 2}]


def test_racing_migrators_apply_everything_once(empty_database_url: str, folder: Path) -> None:
    applied: list[str] = []
    racers = [
        threading.Thread(target=lambda: applied.extend(apply_migrations(empty_database_url, folder))) for _ in range(6)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(applied) == ["001_first.sql", "002_second.sql"]


def test_a_changed_file_is_refused(empty_database_url: str, folder: Path) -> None:
    apply_migrations(empty_database_url, folder)
    (folder / "001_first.sql").write_text("CREATE TABLE first (n bigint);")
    (folder / "003_third.sql").write_text("INSERT INTO first VALUES (3);")
    with pytest.raises(MigrationError, match=r"changed after it was applied: 001_first.sql"):
        apply_migrations(empty_database_url, folder)
    assert len(rows(empty_database_url, "SELECT n FROM first")) == 2


def test_a_file_that_comes_too_late_in_the_order_is_refused(empty_database_url: str, folder: Path) -> None:
    apply_migrations(empty_database_url, folder)
    (folder / "001_b.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=r"001_b.sql comes before 002_second.sql"):
        apply_migrations(empty_database_url, folder)


def test_a_file_that_fails_leaves_no_trace(empty_database_url: str, folder: Path) -> None:
    (folder / "002_second.sql").write_text("INSERT INTO first VALUES (2); SELECT 1 / 0;")
    with pytest.raises(MigrationError, match=r"002_second.sql: division by zero"):
        apply_migrations(empty_database_url, folder)
    assert rows(empty_database_url, "SELECT n FROM first") == [{"n": 1}]


def test_a_database_that_is_ahead_is_left_alone(empty_database_url: str, folder: Path) -> None:
    apply_migrations(empty_database_url, folder)
    (folder / "002_second.sql").unlink()
    assert apply_migrations(empty_database_url, folder) == []


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="no migrations in"):
        apply_migrations("postgresql://127.0.0.1:1/none", tmp_path)


def test_a_database_that_is_away_is_said_so(folder: Path) -> None:
    with pytest.raises(DatabaseUnavailableError):
        apply_migrations("postgresql://127.0.0.1:1/none", folder)


def test_the_schema_can_be_owned_by_a_role_that_is_not_a_superuser(database_url: str) -> None:
    owner = f"owner_{uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD 'secret'".encode())
        for role in ("scheduler_api", "scheduler_worker"):
            connection.execute(f"GRANT {role} TO {owner} WITH ADMIN OPTION".encode())
        connection.execute(f"CREATE DATABASE {owner} OWNER {owner}".encode())
        server = database_url.split("@")[1].rsplit("/", 1)[0]
        url = f"postgresql://{owner}:secret@{server}/{owner}"
        assert apply_migrations(url, ROOT / "migrations")[0] == "001_consolidated_schema.sql"
        connection.execute(f"DROP DATABASE {owner} WITH (FORCE)".encode())
        connection.execute(f"DROP ROLE {owner}".encode())


def test_what_runs_when_leases_become_batches_is_one_batch(empty_database_url: str, tmp_path: Path) -> None:
    """As an owner without superpowers, whom the walls between merchants hold too."""
    for file in sorted((ROOT / "migrations").glob("00[12]*.sql")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    apply_migrations(empty_database_url, tmp_path)
    merchant = store_merchant(empty_database_url)
    states: dict[str, tuple[str | None, str | None, str | None]] = {
        "pending": ("now()", None, None),
        "running": (None, "now()", None),
        "failed": (None, None, "now()"),
        "completed": (None, None, "now()"),
    }
    with psycopg.connect(empty_database_url) as connection:
        for status, (waits, leased, ended) in states.items():
            connection.execute(
                f"INSERT INTO jobs (id, merchant_id, schedule_type, status, priority, max_retries, timeout_seconds,"
                f" retry_initial_seconds, retry_max_seconds, retry_multiplier, scheduled_at, next_run_at,"
                f" lease_expires_at, completed_at, created_at, updated_at, target, metadata) "
                f"VALUES (%s, %s, 'one_time', %s, 0, 3, 30, 1, 60, 2, now(), {waits or 'NULL'}, {leased or 'NULL'},"
                f" {ended or 'NULL'}, now(), now(), '{{}}', '{{}}')".encode(),
                (new_id(), merchant, status),
            )
        name = connection.info.dbname
        connection.execute(f"CREATE ROLE {name}_owner NOLOGIN".encode())
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {name}_owner".encode())
        for kind, names in _owned(connection).items():
            for owned in names:
                connection.execute(f"ALTER {kind} {owned} OWNER TO {name}_owner".encode())
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(f"SET ROLE {name}_owner".encode())
        connection.execute((ROOT / "migrations" / "003_leases.sql").read_bytes())
    found = rows(empty_database_url, "SELECT status, dead, lease_id FROM jobs ORDER BY status")
    assert {row["status"]: (row["dead"], row["lease_id"]) for row in found} == {
        "pending": (False, None),
        "running": (False, 0),
        "failed": (True, None),
        "completed": (False, None),
    }
    [lease] = rows(empty_database_url, "SELECT id, cardinality(job_ids) AS jobs FROM leases")
    assert (lease["id"], lease["jobs"]) == (0, 1)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(f"DROP OWNED BY {name}_owner CASCADE; DROP ROLE {name}_owner".encode())


def _owned(connection: psycopg.Connection) -> dict[str, list[str]]:
    tables = (
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    functions = "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    types = "SELECT oid::regtype::text FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'"
    queries = {"TABLE": tables, "FUNCTION": functions, "TYPE": types}
    return {kind: [row[0] for row in connection.execute(query.encode())] for kind, query in queries.items()}
