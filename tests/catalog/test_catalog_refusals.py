"""What is not a registry is refused with one clear message, and is not touched."""

from __future__ import annotations

import hashlib
import os
import socket
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from catalog.registry_fixtures import empty_postgres, new_postgres, new_sqlite
from sqlalchemy import create_engine, make_url, text

from caa_registry.catalog.database import Database
from caa_registry.catalog.upgrade import upgrade
from caa_registry.errors import RegistryError


def foreign(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def other_program(path: Path) -> None:
    foreign(path, "CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('mine')")


def other_in_wal(path: Path) -> None:
    foreign(path, "PRAGMA journal_mode=WAL", "CREATE TABLE pair (digest)")


def other_id(path: Path) -> None:
    foreign(path, "PRAGMA application_id=1196444487", "CREATE TABLE meta (key, value)")


def unfinished_wal(path: Path) -> None:
    """A database with a log that its program has not folded in yet."""
    other_in_wal(path.with_name("made.db"))
    connection = sqlite3.connect(path.with_name("made.db"))
    connection.execute("INSERT INTO pair VALUES (1)")
    connection.commit()
    for suffix in ("", "-wal"):
        path.with_name(path.name + suffix).write_bytes(path.with_name("made.db" + suffix).read_bytes())
    connection.close()


def state(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in folder.iterdir()
    }


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        other_program,
        other_in_wal,
        other_id,
        unfinished_wal,
        lambda path: path.write_text("just text"),
        lambda path: path.write_bytes(b"SQLite format 3\x00"),
        lambda path: path.write_bytes(b"\x00" * 8192),
    ],
)
def test_other_files_are_refused_and_stay_as_they_are(
    tmp_path: Path, make: Callable[[Path], object], create: bool
) -> None:
    path = tmp_path / "registry.db"
    make(path)
    before = state(tmp_path)
    for attempt in (lambda url: Database.open(url, create=create), upgrade):
        with pytest.raises(RegistryError, match="is not a registry") as caught:
            attempt(f"sqlite:///{path}")
        assert str(path) in caught.value.message
        assert caught.value.hint
    assert state(tmp_path) == before


def refused(url: str, *, create: bool) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        Database.open(url, create=create)
    assert caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("create", [True, False])
def test_urls_that_name_no_registry(create: bool) -> None:
    for url in ("", "  ", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///a\x00b", "registry.db"):
        refused(url, create=create)
    for url in ("mysql://h/d", "postgresql://u:secret@h:port/d", "sqlite:///file:x?mode=memory", "x://["):
        assert "secret" not in str(refused(url, create=create))


def test_a_folder(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}", f"sqlite:///{tmp_path}/"):
        for create in (True, False):
            assert "is a folder" in refused(url, create=create).message
    assert list(tmp_path.iterdir()) == []


def test_no_registry(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    for name in ("registry.db", "folder/registry.db", "empty.db", "empty.db/registry.db"):
        error = refused(f"sqlite:///{tmp_path / name}", create=False)
        assert "no registry at" in error.message
        assert "caa init" in error.hint
    assert [path.name for path in tmp_path.iterdir()] == ["empty.db"]


def test_a_path_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused(f"sqlite:///{tmp_path}/file/deep/registry.db", create=True)
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_place_that_nobody_can_write() -> None:
    for path in ("/proc/registry.db", "/proc/caa/registry.db", "/proc/version"):
        refused(f"sqlite:///{path}", create=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in refused(f"sqlite:///{tmp_path}/pipe", create=True).message


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_read_only_file_or_folder(tmp_path: Path) -> None:
    url = new_sqlite(tmp_path)
    for place, mode in ((tmp_path / "registry.db", 0o444), (tmp_path, 0o555)):
        usual = place.stat().st_mode
        place.chmod(mode)
        assert "cannot be written" in refused(url, create=False).message
        place.chmod(usual)


def test_a_read_only_file_or_folder_as_reported_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_sqlite(tmp_path)
    for place in (tmp_path / "registry.db", tmp_path):
        monkeypatch.setattr(os, "access", lambda asked, mode, place=place: Path(asked) != place)
        assert f"{place} cannot be written" in refused(url, create=False).message


def test_odd_characters_in_a_path(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/100% of?mode=ro#x & 'é'.db"
    Database.open(url, create=True).close()
    Database.open(url, create=False).close()
    assert [path.name for path in tmp_path.iterdir()] == ["100% of?mode=ro#x & 'é'.db"]


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for url in (
            f"postgresql://ada:hunter2@127.0.0.1:{port}/caa",
            f"postgresql+psycopg://ada@127.0.0.1:{port}/caa?password=hunter2",
        ):
            error = refused(url, create=True)
            assert f"127.0.0.1:{port}" in error.message
            assert "hunter2" not in str(error)


def test_a_missing_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = refused("postgresql://ada:hunter2@db/caa", create=True)
    assert "pip install 'caa-registry[postgres]'" in error.hint
    assert "hunter2" not in str(error)


def test_an_empty_server_database() -> None:
    url = empty_postgres()
    error = refused(url, create=False)
    assert "no registry at postgresql://" in error.message
    assert "caa init" in error.hint
    with pytest.raises(RegistryError, match="no registry at"):
        upgrade(url)
    missing = make_url(url).set(database="nowhere").render_as_string(hide_password=False)
    assert "does not exist" in refused(missing, create=True).message


def test_a_server_database_of_another_program() -> None:
    url = empty_postgres()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE run (id integer)"))
    assert "another program named run" in refused(url, create=True).message
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")) == 1
    engine.dispose()


def test_create_opens_what_is_there(tmp_path: Path) -> None:
    for url in (new_sqlite(tmp_path), new_postgres()):
        with Database.open(url, create=True) as database, database.read() as session:
            assert session.scalar(text("SELECT count(*) FROM meta")) == 1
