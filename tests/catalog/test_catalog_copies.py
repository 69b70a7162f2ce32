"""A file that is copied by its bytes stands still meanwhile, though others write, read and fold in the log."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from catalog.registry_fixtures import new_sqlite
from sqlalchemy import func, select

from caa_registry.catalog.copies import files
from caa_registry.catalog.copies import still as still_module
from caa_registry.catalog.copies.files import copy_file
from caa_registry.catalog.copies.still import copy_bytes, still
from caa_registry.catalog.database import Database
from caa_registry.catalog.events import append_event, verify_chain
from caa_registry.catalog.models import Event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(new_sqlite(tmp_path).removeprefix("sqlite:///"))


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database.open(f"sqlite:///{path}", create=False) as opened:
        yield opened


def write(database: Database, count: int = 1) -> None:
    for number in range(count):
        with database.write() as session:
            append_event(session, "ada", "note", {"n": number, "text": "x" * 20_000})


def fold(path: Path, how: str = "TRUNCATE") -> tuple[int, int, int]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        row = connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
        return row[0], row[1], row[2]


def events(path: Path) -> int:
    with Database.open(f"sqlite:///{path}", create=False) as copy, copy.read() as session:
        return verify_chain(session).events


def test_nobody_writes_to_the_file_while_it_is_still(database: Database, path: Path, tmp_path: Path) -> None:
    write(database, 5)
    target = tmp_path / "copy.db"
    target.touch()
    with still(path) as stands:
        assert stands
        before = path.read_bytes()
        # Others write on, and nothing of it is folded in, however much somebody wants it.
        write(database, 50)
        for how in ("PASSIVE", "FULL", "RESTART", "TRUNCATE"):
            fold(path, how)
            assert path.read_bytes() == before
        copy_bytes(path, target, lambda done, total: None)
    assert target.read_bytes() == before and events(target) == 5
    fold(path)
    assert path.read_bytes() != before
    with database.read() as session:
        assert verify_chain(session).events == 55


def test_it_is_not_still_where_a_reader_needs_the_log(database: Database, path: Path) -> None:
    write(database, 3)
    with database.read() as session:
        assert session.scalar(select(func.count(Event.id))) == 3
        write(database, 3)
        with still(path) as stands:
            assert not stands
    with still(path) as stands:
        assert stands


def test_it_is_not_still_while_somebody_writes(database: Database, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(still_module, "_WAIT_SECONDS", 0.01)
    with database.write() as session:
        append_event(session, "ada", "note", {"n": 1})
        with still(path) as stands:
            assert not stands
    write(database)  # nobody holds a lock any more


def test_a_file_without_a_log_is_copied_by_pages(tmp_path: Path, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    with still(path) as stands:
        assert not stands


@pytest.mark.parametrize("large", [0, 1 << 40], ids=["bytes", "pages"])
def test_copies_that_are_made_while_others_write_are_whole(
    database: Database, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(files, "_LARGE", large)
    write(database, 3)
    ended = threading.Event()

    def work() -> None:
        with Database.open(f"sqlite:///{path}", create=False) as other:
            while not ended.is_set():
                write(other)
                fold(path, "PASSIVE")

    writer = threading.Thread(target=work)
    writer.start()
    try:
        counts = []
        for number in range(8):
            target = tmp_path / f"{number}.db"
            copy_file(path, target, fold=True)
            assert [each.name for each in tmp_path.glob(f"{number}.db*")] == [target.name]
            counts.append(events(target))
            with closing(sqlite3.connect(target)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        ended.set()
        writer.join()
    assert counts == sorted(counts) and counts[0] >= 3


def test_what_stops_the_copying_is_raised(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.touch()
    with pytest.raises(OSError, match="Is a directory") as caught:
        copy_bytes(path, tmp_path, lambda done, total: None)
    assert caught.value.errno == errno.EISDIR

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_bytes(path, target, stop)
