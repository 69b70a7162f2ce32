"""The files of a SQLite registry: who may read them, how large the log stays, and a disk that is full."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from catalog.registry_fixtures import new_sqlite
from catalog.test_catalog_strangers import older
from sqlalchemy import text

from caa_registry.catalog.database import Database
from caa_registry.catalog.engines import LOG_BYTES
from caa_registry.errors import RegistryError

STORE = "INSERT INTO blob (digest, size, data) VALUES (:digest, 1, zeroblob(:size))"


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_new_registry_is_for_its_owner(tmp_path: Path, mask: int) -> None:
    folder = tmp_path / "deep" / "home"
    with umask(mask), Database.open(f"sqlite:///{folder}/registry.db", create=True) as database:
        with database.write() as session:
            session.execute(text(STORE), {"digest": "x", "size": 10})
        assert modes(folder) == dict.fromkeys(("registry.db", "registry.db-wal", "registry.db-shm"), 0o600)
    assert modes(tmp_path)["deep"] == modes(tmp_path / "deep")["home"] == 0o700


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022, 0o077])
def test_a_shared_registry_has_what_the_umask_leaves(tmp_path: Path, mask: int) -> None:
    folder = tmp_path / "team"
    with umask(mask), Database.open(f"sqlite:///{folder}/registry.db", create=True, shared=True) as database:
        with database.write() as session:
            session.execute(text(STORE), {"digest": "x", "size": 10})
        assert set(modes(folder).values()) == {0o666 & ~mask} and len(modes(folder)) == 3
    assert modes(tmp_path)["team"] == 0o777 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_registry_keeps_its_permissions_and_its_backup_has_them(tmp_path: Path, mode: int) -> None:
    path = older(tmp_path / "registry.db", "0005")
    path.chmod(mode)
    with umask(0), Database.open(f"sqlite:///{path}", create=True, shared=True) as database:
        with database.write() as session:
            session.execute(text(STORE), {"digest": "x", "size": 10})
        assert set(modes(tmp_path)) == {path.name + end for end in ("", "-wal", "-shm", ".bak-0005")}
        assert set(modes(tmp_path).values()) == {mode}


def test_the_log_stays_small(tmp_path: Path) -> None:
    with Database.open(new_sqlite(tmp_path), create=False) as database:
        log = tmp_path / "registry.db-wal"
        with database.write() as session:
            for number in range(12):
                session.execute(text(STORE), {"digest": f"large {number}", "size": 4_000_000})
        assert log.stat().st_size > 2 * LOG_BYTES
        raw = database._engine.raw_connection()
        raw.driver_connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # type: ignore[union-attr]
        raw.close()
        with database.write() as session:
            session.execute(text(STORE), {"digest": "small", "size": 1})
        assert log.stat().st_size <= LOG_BYTES


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill_up(folder: Path) -> Path:
    rest = folder / "rest"
    with rest.open("wb", buffering=0) as file:
        try:
            for size in (65_536, 4096, 1):
                while True:
                    file.write(b"x" * size)
        except OSError:
            pass
    return rest


def test_a_full_disk_is_called_one(small: Path) -> None:
    url = new_sqlite(small)
    with Database.open(url, create=False) as database:
        with pytest.raises(RegistryError, match="the disk is full") as caught, database.write() as session:
            session.execute(text(STORE), {"digest": "x", "size": 3_000_000})
        assert str(small) in caught.value.message and "Free some space" in caught.value.hint
        with database.read() as session:
            assert session.scalar(text("SELECT count(*) FROM blob")) == 0
    rest = fill_up(small)
    with pytest.raises(RegistryError, match="the disk is full"):
        Database.open(url, create=False)  # not even the index of the log has space
    rest.unlink()
    Database.open(url, create=False).close()


def test_a_full_disk_makes_no_registry_and_no_upgrade(small: Path, tmp_path: Path) -> None:
    old = older(tmp_path / "old.db", "0005")
    shutil.copy(old, small / "old.db")
    before = (small / "old.db").read_bytes()
    rest = fill_up(small)
    for name, create in (("new.db", True), ("deep/new.db", True), ("old.db", False)):
        with pytest.raises(RegistryError, match="the disk is full"):
            Database.open(f"sqlite:///{small}/{name}", create=create)
    assert (small / "old.db").read_bytes() == before
    assert {path.name for path in small.iterdir()} - {"old.db-wal", "old.db-shm"} == {"old.db", rest.name}
