"""A registry from a stranger is opened only where its schema is what the migrations make; nothing of it runs."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from catalog.registry_fixtures import new_sqlite
from sqlalchemy import create_engine

from caa_registry.catalog.database import Database
from caa_registry.catalog.engines import APPLICATION_ID
from caa_registry.catalog.integrity import inspection
from caa_registry.catalog.schema import head_revision, migrate, migrations_folder, revisions
from caa_registry.catalog.state import look
from caa_registry.catalog.upgrade import upgrade
from caa_registry.errors import RegistryError

SQL = "UPDATE sqlite_schema SET sql = replace(sql, "

CHANGES = {
    "a trigger": ("CREATE TRIGGER evil AFTER INSERT ON run BEGIN DELETE FROM alias; END", "trigger 'evil'"),
    "a view": ("CREATE VIEW evil AS SELECT 1", "view 'evil'"),
    "a table": ("CREATE TABLE evil (x)", "table 'evil'"),
    "a virtual table": ("CREATE VIRTUAL TABLE evil USING fts5(x)", "table 'evil"),
    "an index": ("CREATE INDEX evil ON meta (value)", "index 'evil'"),
    "an index with an expression": ("CREATE INDEX evil ON meta (abs(value))", "index 'evil'"),
    "a computed column": ("ALTER TABLE meta ADD COLUMN evil AS (abs(value))", "its meta"),
    "a column": ("ALTER TABLE meta ADD COLUMN evil", "its meta"),
    "a missing trigger": ("DROP TRIGGER keep_pair_update", "lacks the trigger keep_pair_update"),
    "a missing index": ("DROP INDEX ix_run_io_kind_object_id", "lacks the index ix_run_io_kind_object_id"),
    "a view for a table": ("DROP TABLE meta; CREATE VIEW meta AS SELECT 'a' AS key, 'b' AS value", "its meta"),
    "a view for the revision": (
        "ALTER TABLE caa_alembic_version RENAME TO kept; "
        "CREATE VIEW caa_alembic_version AS SELECT version_num FROM kept",
        "its caa_alembic_version",
    ),
    "no revision": ("DROP TABLE caa_alembic_version", "holds no schema"),
    "an edited check": (f"{SQL} 'value TEXT NOT NULL', 'value TEXT CHECK (abs(1))') WHERE name = 'meta'", "its meta"),
    "an edited trigger": (f"{SQL} '''pair cannot', '''it cannot') WHERE type = 'trigger'", "its keep_pair_update"),
    "a comment": (f"{SQL} 'value TEXT', 'value /* , */ TEXT') WHERE name = 'meta'", "its meta"),
    "another default": (f"{SQL} 'value TEXT', 'value TEXT DEFAULT (abs(1))') WHERE name = 'meta'", "its meta"),
}


def changed(path: Path, statements: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema=ON")
    connection.executescript(statements)
    connection.close()


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_schema_is_refused_and_left_alone(tmp_path: Path, change: str) -> None:
    statements, words = CHANGES[change]
    url, path = new_sqlite(tmp_path), tmp_path / "registry.db"
    changed(path, statements)
    before = path.read_bytes()
    with pytest.raises(RegistryError) as caught:
        Database.open(url, create=True)
    assert words in caught.value.message and caught.value.hint and str(path) in caught.value.message
    state = look(url)
    assert state.state == "unusable" and words in state.problem
    if change != "no revision":
        with pytest.raises(RegistryError, match=words):
            upgrade(url)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.bak-*"))


def test_an_older_schema_is_compared_before_it_is_upgraded(tmp_path: Path) -> None:
    for revision in revisions(migrations_folder())[:-1]:
        path = older(tmp_path / f"{revision}.db", revision)
        changed(path, "CREATE TRIGGER evil AFTER UPDATE ON meta BEGIN SELECT 1; END")
        before = path.read_bytes()
        for attempt in (lambda url: Database.open(url, create=False), upgrade):
            with pytest.raises(RegistryError, match="trigger 'evil'"):
                attempt(f"sqlite:///{path}")
        assert path.read_bytes() == before and not list(tmp_path.glob(f"{path.name}.bak-*"))
        changed(path, "DROP TRIGGER evil")
        Database.open(f"sqlite:///{path}", create=False).close()


def older(path: Path, revision: str) -> Path:
    """An empty registry of an earlier revision."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
        migrate(connection, migrations_folder(), revision)
    engine.dispose()
    changed(path, "PRAGMA journal_mode=WAL")
    return path


@pytest.mark.parametrize(
    "meta",
    [
        "CREATE VIEW meta AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT i AS key, i AS value FROM n",
        "CREATE TABLE meta (key TEXT, value AS (abs(key)))",
        "CREATE TABLE meta (key TEXT, value TEXT GENERATED ALWAYS AS(key))",
    ],
)
def test_a_newer_registry_runs_nothing_when_it_is_refused(tmp_path: Path, meta: str) -> None:
    url, path = new_sqlite(tmp_path), tmp_path / "registry.db"
    changed(path, f"UPDATE caa_alembic_version SET version_num = '9999'; DROP TABLE meta; {meta}")
    with pytest.raises(RegistryError, match="its meta is not what"):
        Database.open(url, create=False)


def test_the_figures_of_the_planner_are_no_change(tmp_path: Path) -> None:
    url, path = new_sqlite(tmp_path), tmp_path / "registry.db"
    changed(path, "ANALYZE")
    Database.open(url, create=False).close()
    changed(path, "DROP TABLE sqlite_stat1; CREATE TABLE evil (x)")
    with pytest.raises(RegistryError, match="evil"):
        Database.open(url, create=False)


def test_the_digests_are_those_of_the_migrations() -> None:
    folder = migrations_folder()
    stored = json.loads((folder / inspection.SCHEMAS).read_text())
    assert stored == {
        revision: inspection.objects_digest(inspection.migrated_objects(folder, revision))
        for revision in revisions(folder)
    }, "run: python scripts/schema_digests.py"
    assert list(stored)[-1] == head_revision()


def test_the_usual_registry_needs_no_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_sqlite(tmp_path)
    monkeypatch.setattr(inspection, "migrated_objects", None)
    Database.open(url, create=False).close()


def test_the_file_is_read_with_care(tmp_path: Path) -> None:
    with Database.open(new_sqlite(tmp_path), create=False) as database, database.read() as session:
        raw = session.connection().connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        found = {name: raw.execute(f"PRAGMA {name}").fetchone() for name in ("trusted_schema", "cell_size_check")}
        assert found == {"trusted_schema": (0,), "cell_size_check": (1,)}
        assert raw.execute("PRAGMA mmap_size").fetchone() in ((0,), None)
        with pytest.raises(sqlite3.OperationalError, match="not authorized"):
            raw.execute("SELECT load_extension('x')")
