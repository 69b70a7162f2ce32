"""What fsck can repair: indexes, and marks on what is damaged. Nothing is deleted or rewritten."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.changed import change

import caa_registry as caa
from caa_registry.errors import IntegrityError
from caa_registry.registry.records import Repaired


@pytest.fixture
def copy(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "copy.db"))


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: sorted(connection.execute(f'SELECT * FROM "{table}"'), key=repr) for table in tables}


def stale_index(path: Path) -> None:
    """Move a row while its index is not there, as if the index had not been written."""
    name = "ix_run_io_kind_object_id"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        kept = connection.execute("SELECT * FROM sqlite_master WHERE name = ?", [name]).fetchone()
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for trigger, _ in triggers:
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = ?", [name])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE run_io SET rowid = rowid + 1000 WHERE rowid IN (SELECT rowid FROM run_io LIMIT 3)")
        for _, sql in triggers:
            connection.execute(sql)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", kept)


def test_indexes_are_made_anew(copy: Path) -> None:
    stale_index(copy)
    before = contents(copy)
    with caa.open(str(copy)) as registry:
        report = registry.fsck()
        assert any(fault.check == "database" and "index" in fault.problem for fault in report.damage)
        assert registry.repair(report) == Repaired(True, ())
        assert registry.fsck().faults == ()
    assert contents(copy) == before


def test_what_is_damaged_is_quarantined_with_what_was_made_of_it(copy: Path) -> None:
    change(
        copy,
        "UPDATE score SET value = 0.99 WHERE evaluation_id = 2 AND position = 0",
        "UPDATE vector_version SET d_model = 7 WHERE id = 2",
        "UPDATE dataset_version SET licence = 'MIT' WHERE id = 3",
    )
    before = contents(copy)
    with caa.open(str(copy)) as registry:
        report = registry.fsck()
        done = registry.repair(report)
        assert set(done.quarantined) == {"evaluation 2", "vector team/praise:v2", "dataset team/dishes:v2"}
        # The words of a licence that nobody stored go with the index.
        assert done.search and not done.indexes
        again = registry.fsck()
        # It is as damaged as before, no more and no less.
        assert {(fault.thing, fault.problem) for fault in again.damage} == {
            (fault.thing, fault.problem) for fault in report.damage if fault.check != "search"
        }
        assert registry.repair(again) == Repaired(False, ())
        assert [each.action for each in registry.audit.ls(limit=3)].count("quarantine") == 2
    now = contents(copy)
    added = {"quarantine", "recall", "event", "meta", "sqlite_sequence"}
    assert {table for table in now if now[table] != before[table] and not table.startswith("search_")} == added
    assert all(
        set(map(repr, before[table])) <= set(map(repr, now[table])) for table in ("quarantine", "recall", "event")
    )


def test_nothing_is_repaired_where_the_log_is_damaged(copy: Path) -> None:
    """A new event would be the head of a chain that was cut off."""
    change(
        copy,
        "DELETE FROM event WHERE id = (SELECT max(id) FROM event)",
        "UPDATE score SET value = 0.99 WHERE evaluation_id = 2 AND position = 0",
    )
    before = contents(copy)
    with caa.open(str(copy)) as registry:
        with pytest.raises(IntegrityError, match="is not the one that caa wrote last"):
            registry.repair(registry.fsck())
        # Nor is anything else written.
        with pytest.raises(IntegrityError, match="is not the one that caa wrote last"):
            registry.aliases.set("vector:team/praise:v1", "other")
    assert contents(copy) == before
