"""Older, newer and half-upgraded registries. The revision to come is written into a copy of the migrations."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from catalog.catalog_rows import fill, fill_older
from catalog.registry_fixtures import DIALECTS, empty_postgres, new_postgres, new_sqlite, together
from sqlalchemy import StaticPool, create_engine, select, text

from caa_registry.catalog import models as t
from caa_registry.catalog.database import Database
from caa_registry.catalog.models import Base
from caa_registry.catalog.schema import head_revision, migrate, migrations_folder, revisions
from caa_registry.catalog.upgrade import upgrade
from caa_registry.errors import RegistryError

NEXT = "9000"

# Makes the parent table anew: with foreign keys enforced, this deletes or refuses because of its children.
REBUILD = """
    if op.get_bind().dialect.name == "sqlite":
        triggers = op.get_bind().exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'dataset_version'"
        ).fetchall()
        with op.batch_alter_table("dataset_version", recreate="always") as batch:
            batch.add_column(sa.Column("note", sa.Text(), nullable=True))
        for (statement,) in triggers:
            op.execute(statement)
    else:
        op.add_column("dataset_version", sa.Column("note", sa.Text(), nullable=True))
"""
BREAK = REBUILD + '    raise RuntimeError("the power went")\n'
CRASH = REBUILD + "    import os; os._exit(9)\n"
DANGLE = '    op.execute("DROP TRIGGER keep_pair_update"); op.execute("UPDATE pair SET digest = \'x\'")\n'


def with_next(folder: Path, body: str) -> Path:
    copy = folder / "migrations"
    shutil.copytree(migrations_folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "versions" / f"{NEXT}_next.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = '{NEXT}'\ndown_revision = '{head_revision()}'\n\n\ndef upgrade():\n{body}"
    )
    return copy


@pytest.fixture
def filled(tmp_path: Path) -> str:
    """The URL of a SQLite registry of today with a row in every table."""
    url = new_sqlite(tmp_path)
    with Database.open(url, create=False) as database, database.write() as session:
        fill(session)
    return url


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    connection = sqlite3.connect(path)
    found = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in Base.metadata.tables}
    connection.close()
    return found


def usable(url: str) -> bool:
    with Database.open(url, create=False) as database, database.write() as session:
        session.execute(text("UPDATE alias SET name = 'other'"))
        return bool(session.scalar(text("SELECT version_num FROM caa_alembic_version")) == head_revision())


def test_an_older_file_is_upgraded_after_a_backup(tmp_path: Path, filled: str) -> None:
    path = tmp_path / "registry.db"
    before = rows(path)
    with Database.open(filled, create=False, migrations=with_next(tmp_path, REBUILD)) as database:
        with database.read() as session:
            assert session.scalar(text("SELECT version_num FROM caa_alembic_version")) == NEXT
            assert session.scalar(text("SELECT count(*) FROM dataset_version WHERE note IS NULL")) == 1
            assert session.scalar(text("PRAGMA foreign_keys")) == 1
        with pytest.raises(Exception, match="cannot be changed"), database.write() as session:
            session.execute(text("UPDATE dataset_version SET message = 'x'"))
    after = rows(path)
    assert {name: len(found) for name, found in after.items()} == {name: len(f) for name, f in before.items()}
    assert after["dataset_member"] == before["dataset_member"]
    backup = tmp_path / f"registry.db.bak-{head_revision()}"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["migrations", "registry.db", backup.name]
    assert rows(backup) == before
    assert usable(f"sqlite:///{backup}")


def test_several_processes_upgrade_once(tmp_path: Path, filled: str) -> None:
    together(_open, filled, with_next(tmp_path, REBUILD))
    assert len(rows(tmp_path / "registry.db")["dataset_member"]) == 1
    assert {path.suffix for path in tmp_path.glob("registry.db*")} == {".db", f".bak-{head_revision()}"}


def _open(url: str, migrations: Path) -> None:
    Database.open(url, create=False, migrations=migrations).close()


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(tmp_path: Path, filled: str) -> None:
    before = rows(tmp_path / "registry.db")
    with pytest.raises(RuntimeError, match="the power went"):
        _open(filled, with_next(tmp_path, BREAK))
    assert rows(tmp_path / "registry.db") == before
    assert usable(filled)


def test_an_upgrade_that_is_killed_leaves_the_file_as_it_was(tmp_path: Path, filled: str) -> None:
    before = rows(tmp_path / "registry.db")
    migrations = with_next(tmp_path, CRASH)
    child = os.fork()
    if child == 0:
        try:
            _open(filled, migrations)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert rows(tmp_path / "registry.db") == before
    assert usable(filled)


def test_an_upgrade_that_would_leave_dangling_rows_is_refused(tmp_path: Path, filled: str) -> None:
    before = rows(tmp_path / "registry.db")
    with pytest.raises(RegistryError, match="dataset_member, recall, review, search_entry that refer to nothing"):
        _open(filled, with_next(tmp_path, DANGLE))
    assert rows(tmp_path / "registry.db") == before


def test_a_backup_that_fails_stops_the_upgrade(tmp_path: Path, filled: str) -> None:
    (tmp_path / f"registry.db.bak-{head_revision()}").mkdir()
    with pytest.raises(RegistryError):
        _open(filled, with_next(tmp_path, REBUILD))
    assert usable(filled)
    assert not list(tmp_path.glob("*.part"))


def test_a_creation_that_fails_leaves_nothing(tmp_path: Path) -> None:
    migrations = with_next(tmp_path, BREAK)
    with pytest.raises(RuntimeError):
        Database.open(f"sqlite:///{tmp_path}/deep/er/registry.db", create=True, migrations=migrations)
    (tmp_path / "empty.db").touch()
    with pytest.raises(RuntimeError):
        Database.open(f"sqlite:///{tmp_path}/empty.db", create=True, migrations=migrations)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.db", "migrations"]
    assert (tmp_path / "empty.db").stat().st_size == 0
    Database.open(f"sqlite:///{tmp_path}/empty.db", create=True).close()


def test_a_newer_registry_is_refused(url: str, tmp_path: Path) -> None:
    upgrade(url, migrations=with_next(tmp_path, REBUILD))
    newer = Database.open(url, create=False, migrations=tmp_path / "migrations")
    with newer, newer.write() as session:
        session.execute(text("UPDATE meta SET value = 'caa-registry 7.8.9' WHERE key = 'written_by'"))
    for attempt in (lambda: Database.open(url, create=True), lambda: upgrade(url)):
        with pytest.raises(RegistryError, match=f"written by a newer caa-registry .schema {NEXT}") as caught:
            attempt()
        assert "caa-registry 7.8.9 or newer" in caught.value.hint


def test_a_server_is_upgraded_only_when_asked(tmp_path: Path) -> None:
    url = new_postgres()
    with Database.open(url, create=False) as database, database.write() as session:
        fill(session)
    migrations = with_next(tmp_path, REBUILD)
    with pytest.raises(RegistryError, match="caa db upgrade"):
        Database.open(url, create=True, migrations=migrations)
    assert upgrade(url, migrations=migrations) == (head_revision(), NEXT)
    assert upgrade(url, migrations=migrations) == (NEXT, NEXT)
    with Database.open(url, create=False, migrations=migrations) as database, database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM dataset_version WHERE note IS NULL")) == 1


def test_upgrade_of_a_file_when_asked(tmp_path: Path, filled: str) -> None:
    migrations = with_next(tmp_path, REBUILD)
    assert upgrade(filled, migrations=migrations) == (head_revision(), NEXT)
    with pytest.raises(RegistryError, match="no registry at"):
        upgrade(f"sqlite:///{tmp_path}/nothing.db")


def of_revision(folder: Path, url: str, revision: str) -> None:
    """Makes what ``url`` names a registry of an older schema with a row in every table but the audit."""
    copy = folder / "older"
    shutil.copytree(migrations_folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (copy / "versions").glob("*.py"):
        if path.name[:4] > revision:
            path.unlink()
    with Database.open(url, create=True, migrations=copy) as database, database.write() as session:
        fill_older(session)


# From 0008 on rows have digests, which these have not.
@pytest.mark.parametrize("revision", [each for each in revisions(migrations_folder()) if each < "0008"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_older_registry_keeps_what_it_holds(dialect: str, tmp_path: Path, revision: str) -> None:
    url = f"sqlite:///{tmp_path / 'older.db'}" if dialect == "sqlite" else empty_postgres()
    of_revision(tmp_path, url, revision)
    assert upgrade(url) == (revision, head_revision())
    with Database.open(url, create=False) as database:
        with database.read() as session:
            (layer,) = session.scalars(select(t.VectorLayer))
            assert (layer.norm, layer.quality) == (1.5, None)
            (score,) = session.scalars(select(t.Score))
            assert (score.condition, score.multiplier, score.value, score.n) == ("vector", -1.0, 0.25, 50)
            (evaluation,) = session.scalars(select(t.Evaluation))
            assert evaluation.measurements is None
            assert session.scalar(select(t.Pair)).turns is None
        for change in (
            "UPDATE vector_layer SET norm = 7",
            "UPDATE score SET condition = 'random'",
            "UPDATE pair SET turns = NULL",
            "DELETE FROM score",
            "UPDATE evaluation SET measurements = 'x'",
            "UPDATE evaluation SET split = 'x'",
        ):
            with pytest.raises(Exception, match=r"cannot be changed|not marked deleted"), database.write() as session:
                session.execute(text(change))
        with database.write() as session:
            session.add(
                t.Score(
                    evaluation_id=1, position=1, condition="random", layer=0, metric="steerability", value=0.0, n=20
                )
            )


def test_the_table_that_0013_makes_anew_gives_no_number_twice() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
        migrate(connection, migrations_folder(), "0012")
        connection.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES ('vector_version', 7)")
        migrate(connection, migrations_folder(), "0013")
        given = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'vector_version'").fetchall()
        assert [seq for (seq,) in given] == [7]
    engine.dispose()
