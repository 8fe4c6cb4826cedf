"""The migrator brings a database up to date, and fails the deploy when it cannot."""

from pathlib import Path

import pytest

from migrator.handler import lambda_handler
from scheduler_core.domain.errors import MigrationError
from tests.contexts import a_context

ROOT = Path(__file__).parents[3]


def test_a_migrated_database_needs_nothing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("MIGRATIONS_DIRECTORY", str(ROOT / "migrations"))
    assert lambda_handler({}, a_context()) == {"applied": []}


def test_a_broken_migration_raises(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "999_broken.sql").write_text("SELECT 1 / 0;")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("MIGRATIONS_DIRECTORY", str(tmp_path))
    with pytest.raises(MigrationError):
        lambda_handler({}, a_context())
