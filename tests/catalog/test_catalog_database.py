from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from catalog.catalog_rows import NOW, D, fill
from catalog.registry_fixtures import new_sqlite, together
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError, StatementError

from caa_registry.catalog import engines
from caa_registry.catalog.database import Database
from caa_registry.catalog.engines import APPLICATION_ID
from caa_registry.catalog.models import Dataset, DatasetMember, Meta, Vector
from caa_registry.errors import RegistryError


def names(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Vector.name).order_by(Vector.id)))


def add(database: Database, name: str) -> None:
    with database.write() as session:
        session.add(Vector(name=name, created_at=NOW))


def test_sqlite_settings(sqlite_database: Database) -> None:
    expected = {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "synchronous": 1,
        "busy_timeout": 30000,
        "trusted_schema": 0,
        "recursive_triggers": 1,
        "application_id": APPLICATION_ID,
        "page_size": 8192,
    }
    with sqlite_database.read() as session:
        for name, value in expected.items():
            assert session.scalar(text(f"PRAGMA {name}")) == value, name


def test_a_write_is_kept_whole_or_not_at_all(database: Database) -> None:
    add(database, "a")
    with pytest.raises(ZeroDivisionError), database.write() as session:
        session.add(Vector(name="b", created_at=NOW))
        session.flush()
        raise ZeroDivisionError
    assert names(database) == ["a"]


def test_rows_stay_readable_after_the_session(database: Database) -> None:
    with database.write() as session:
        row = Vector(name="a", created_at=NOW)
        session.add(row)
    assert (row.id, row.name) == (1, "a")


def test_reading_sees_one_state(database: Database) -> None:
    add(database, "a")
    with database.read() as session:
        assert session.scalar(select(func.count(Vector.id))) == 1
        add(database, "b")
        assert session.scalar(select(func.count(Vector.id))) == 1
    assert names(database) == ["a", "b"]


def test_changes_in_read_are_refused(database: Database) -> None:
    add(database, "a")
    with pytest.raises(RuntimeError, match="write"), database.read() as session:
        session.add(Vector(name="b", created_at=NOW))
        session.flush()
    with pytest.raises(RuntimeError, match="write"), database.read() as session:
        session.scalars(select(Vector)).one().name = "c"
    with pytest.raises((RegistryError, DBAPIError), match=r"read-?only"), database.read() as session:
        session.execute(insert(Vector).values(name="d", created_at=NOW))
    add(database, "e")  # the connection that was read-only may write again
    assert names(database) == ["a", "e"]


def test_write_inside_write_is_refused_at_once(database: Database) -> None:
    with database.write() as session:
        session.add(Vector(name="a", created_at=NOW))
        with pytest.raises(RuntimeError, match="inside"), database.write():
            pass
        assert names(database) == []
    assert names(database) == ["a"]


def test_a_writer_does_not_wait_for_ever(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "LOCK_WAIT_MS", 100)
    with Database.open(url, create=False) as first, Database.open(url, create=False) as second:
        with first.write(), pytest.raises(RegistryError, match="Another process") as caught:
            add(second, "a")
        assert second.shown in caught.value.message
        add(second, "b")
        assert names(first) == ["b"]


def test_threads_share_a_database(database: Database) -> None:
    threads = [threading.Thread(target=add, args=(database, f"v{number}")) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names(database)) == [f"v{number}" for number in range(6)]


def test_a_database_survives_a_fork(database: Database) -> None:
    add(database, "a")
    together(add_own, database, processes=3)
    add(database, "b")
    assert len(names(database)) == 5


def add_own(database: Database) -> None:
    add(database, multiprocessing.current_process().name.lower())


def test_times_are_aware_and_utc(database: Database) -> None:
    moment = datetime(2024, 1, 1, 1, 30, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    with database.write() as session:
        session.add(Vector(name="a", created_at=moment))
    with database.read() as session:
        stored = session.scalars(select(Vector.created_at)).one()
        assert session.scalars(select(Vector.id).where(Vector.created_at <= moment)).all() == [1]
    assert stored == moment
    assert stored.tzinfo is UTC
    with pytest.raises(StatementError, match="no time zone"), database.write() as session:
        session.add(Vector(name="b", created_at=datetime(2024, 1, 1)))


def test_json_comes_back(database: Database) -> None:
    value = {"z": [1, 2.5, None, True], "a": {"é\u2028": "\U0001f600 'x' %s :y"}}
    with database.write() as session:
        fill(session)
        session.add(DatasetMember(version_id=1, position=1, pair_digest=D, split="test", details=value))
    with database.read() as session:
        stored = session.scalars(select(DatasetMember.details).where(DatasetMember.position == 1)).one()
    assert stored == value


def test_nan_does_not_go_into_json(database: Database) -> None:
    with pytest.raises((StatementError, ValueError), match="JSON"), database.write() as session:
        fill(session)
        session.add(DatasetMember(version_id=1, position=1, pair_digest=D, split="test", details={"x": float("nan")}))
    with database.read() as session:
        assert session.scalars(select(DatasetMember)).all() == []


def test_ids_are_never_used_twice(database: Database) -> None:
    add(database, "a")
    with database.write() as session:
        session.execute(delete(Vector))
    add(database, "b")
    with database.read() as session:
        assert session.scalars(select(Vector.id)).one() == 2


def test_foreign_keys_hold(database: Database) -> None:
    with database.write() as session:
        fill(session)
    with pytest.raises(DBAPIError, match=r"(?i)foreign key"), database.write() as session:
        session.execute(delete(Dataset))


def test_a_closed_registry_is_one_file(tmp_path: Path) -> None:
    with Database.open(new_sqlite(tmp_path), create=False) as database:
        add(database, "a")
        add(database, "b")
        assert (tmp_path / "registry.db-wal").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["registry.db"]


def test_a_path_that_is_not_unicode(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.db")
    with Database.open(f"sqlite:///{path}", create=True) as database:
        add(database, "a")
    assert path.is_file()


def test_damage_is_reported_as_such(tmp_path: Path) -> None:
    url = new_sqlite(tmp_path)
    path = tmp_path / "registry.db"
    with path.open("r+b") as file:
        file.seek(200)
        file.write(b"\xff" * 20_000)
    with pytest.raises(RegistryError, match=r"malformed[\s\S]*backup"):
        Database.open(url, create=False)


def test_a_file_that_went_away_is_not_made_again(tmp_path: Path) -> None:
    database = Database.open(new_sqlite(tmp_path), create=False)
    database.close()
    (tmp_path / "registry.db").unlink()
    with pytest.raises(RegistryError, match="unable to open"), database.write() as session:
        session.add(Meta(key="a", value="b"))
    assert list(tmp_path.iterdir()) == []


def test_opening_needs_no_alembic(tmp_path: Path) -> None:
    code = (
        "import sys; from caa_registry.catalog.database import Database; "
        f"Database.open({new_sqlite(tmp_path)!r}, create=True).close(); print('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"False\n"
