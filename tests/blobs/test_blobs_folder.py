"""Blobs in a folder: what is on the disk, and what somebody else may have put there."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from blobs.store_suite import ABSENT, StoreSuite, remove
from catalog.registry_fixtures import together

from caa_registry.blobs.cache import BlobCache
from caa_registry.blobs.external import ExternalBlobStore
from caa_registry.blobs.folder import FolderObjects
from caa_registry.blobs.location import claimed, open_store, parse_place
from caa_registry.blobs.objects import CLAIM, name_of
from caa_registry.blobs.store import BlobStore
from caa_registry.catalog.database import Database
from caa_registry.digests import digest_bytes
from caa_registry.errors import BlobStoreError, CaaError, IntegrityError, NotFoundError, UsageError, WriteError
from caa_registry.registry.opening import open as open_registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def store(database: Database, folder: Path) -> BlobStore:
    with claimed(parse_place(str(folder)), "sqlite:////nowhere/registry.db", shared=False):
        pass
    return opened(database, folder)


def opened(database: Database, folder: Path) -> ExternalBlobStore:
    from caa_registry.blobs.external import owner_of

    objects = FolderObjects(folder)
    return ExternalBlobStore(database, objects, owner_of(objects) or "", BlobCache(folder, 0))


def put_there(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


class TestFolderStore(StoreSuite):
    def damage(self, store: BlobStore, database: Database, digest: str, data: bytes) -> None:
        put_there(Path(store.shown) / name_of(digest), data)


def test_files_are_named_by_their_digest_and_nothing_else_is_left(store: BlobStore, folder: Path) -> None:
    digest = store.put(b"abc")
    figures = digest.removeprefix("sha256:")
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [CLAIM, f"sha256/{figures[:2]}/{figures}"]


def test_permissions_are_those_of_the_folder(store: BlobStore, folder: Path) -> None:
    private = folder / name_of(store.put(b"abc"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (private, private.parent)] == [0o400, 0o700]
    folder.chmod(0o2770)
    shared = folder / name_of(store.put(b"shared"))
    assert stat.S_IMODE(shared.stat().st_mode) == 0o440
    assert stat.S_IMODE(shared.parent.stat().st_mode) == 0o2770


def test_storing_again_makes_a_damaged_blob_whole(store: BlobStore, folder: Path) -> None:
    digest = store.put(b"the bytes")
    put_there(folder / name_of(digest), b"damaged")
    store.put(b"the bytes")
    assert store.get(digest) == b"the bytes"


def _put(database_url: str, folder: Path) -> str:
    with Database.open(database_url, create=False) as database:
        return opened(database, folder).put(b"the same" * 100_000)


def test_processes_put_the_same(store: BlobStore, url: str, folder: Path) -> None:
    (digest,) = set(together(_put, url, folder))
    assert list(store.ls()) == [digest] and store.get(digest) == b"the same" * 100_000


@pytest.mark.parametrize("planted", ["link", "dangling", "folder", "pipe", "linked folder"])
def test_nothing_follows_what_somebody_put_there(store: BlobStore, folder: Path, tmp_path: Path, planted: str) -> None:
    data, outside = b"planted", tmp_path / "outside"
    outside.mkdir()
    digest = digest_bytes(data)
    path = folder / name_of(digest)
    if planted == "linked folder":
        (outside / path.name).write_bytes(data)
        path.parent.symlink_to(outside)
    else:
        path.parent.mkdir()
        secret = outside / "secret"
        if planted == "link":
            secret.write_bytes(data)
        if planted in ("link", "dangling"):
            path.symlink_to(secret)
        if planted == "folder":
            path.mkdir()
        if planted == "pipe":
            os.mkfifo(path)
    before = sorted((file.name, file.read_bytes()) for file in outside.iterdir())
    for read in (lambda: store.get(digest), lambda: store.read_range(digest, 0, 1), lambda: store.stat(digest)):
        with pytest.raises(NotFoundError):
            read()
    assert digest not in store and list(store.ls()) == []
    # What is put takes the place of a link, and never goes where that leads.
    try:
        assert store.put(data) == digest
        assert store.get(digest) == data and path.is_file() and not path.is_symlink()
    except CaaError as error:
        assert planted in ("folder", "linked folder")
        assert error.hint
    assert sorted((file.name, file.read_bytes()) for file in outside.iterdir()) == before


def test_other_files_are_no_blobs(store: BlobStore, folder: Path) -> None:
    digest = store.put(b"abc")
    place = (folder / name_of(digest)).parent
    for name in ("notes.txt", "A" * 64, "0" * 64):
        (place / name).write_text("x")
    (folder / "sha256" / "README").write_text("x")
    assert list(store.ls()) == [digest]


def test_what_killed_writers_left_goes_with_what_is_removed(store: BlobStore, database: Database, folder: Path) -> None:
    digest = store.put(b"abc")
    place = (folder / name_of(digest)).parent
    old, new = place / ".caa-0123456789abcdef.part", place / ".caa-fedcba9876543210.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    remove(store, database, [digest])
    assert [path.name for path in place.iterdir()] == [new.name]


@pytest.mark.parametrize("what", ["unmounted", "gone", "another's"])
def test_a_folder_that_is_not_there_is_said_to_be(store: BlobStore, folder: Path, what: str) -> None:
    digest = store.put(b"abc")
    folder.rename(folder.with_name("elsewhere"))
    if what != "gone":
        folder.mkdir()  # the place where a disk is mounted
    if what == "another's":
        (folder / "sha256").mkdir()
        (folder / CLAIM).write_text('{"registry": "sha256:other"}')
    attempts: list[Callable[[], object]] = [
        lambda: store.get(digest),
        lambda: digest in store,
        lambda: store.stat(digest),
        lambda: list(store.ls()),
        lambda: store.delete([digest]),
    ]
    for attempt in attempts:
        with pytest.raises(BlobStoreError) as error:
            attempt()
        assert str(folder) in error.value.message and "mounted" in error.value.hint
    if what != "another's":
        with pytest.raises(BlobStoreError):
            store.put(b"more")
        assert not folder.exists() or not list(folder.iterdir())


def test_a_disk_that_takes_no_more_leaves_nothing(
    store: BlobStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(WriteError, match="disk is full"):
            store.put(b"abc")
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / CLAIM]
    assert store.get(store.put(b"abc")) == b"abc"


def test_a_read_only_disk_is_read(unwritable_folder: Path, database: Database) -> None:
    store = opened(database, unwritable_folder)
    digest = digest_bytes(b"abc")
    assert store.get(digest) == b"abc" and list(store.ls()) == [digest] and digest in store
    with pytest.raises(WriteError, match=r"read-only|permission"):
        store.put(b"more")
    with pytest.raises(WriteError, match=r"read-only|permission"):
        store.delete([digest])
    with pytest.raises(IntegrityError):
        store.read_range(digest, 0, 9)


def test_a_folder_moves_with_the_file_beside_it(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    with open_registry(str(here / "team.db"), blobs=str(here / "blobs")) as registry:
        digest = registry.blobs.put(b"abc")
    here.rename(there)
    (tmp_path / "link.db").symlink_to(there / "team.db")
    for name in ("there/team.db", "link.db"):
        with open_registry(str(tmp_path / name), create=False) as registry:
            assert registry.blobs.get(digest) == b"abc" and digest in registry.blobs
            assert str(there) in str(Path(registry.blobs.shown).resolve())


@pytest.mark.parametrize("where", ["file", "full", "a file in the way", "other"])
def test_a_place_that_is_taken_is_refused_and_nothing_is_left(tmp_path: Path, where: str) -> None:
    place = tmp_path / "place"
    if where in ("file", "a file in the way"):
        place.write_text("x")
    if where == "full":
        place.mkdir()
        (place / "thesis.txt").write_text("x")
    if where == "other":
        open_registry(str(tmp_path / "other.db"), blobs=str(place)).close()
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises((UsageError, WriteError)) as error:
        open_registry(str(tmp_path / "new" / "r.db"), blobs=str(place / "in" if "way" in where else place))
    assert error.value.hint
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_the_same_again_finds_what_a_killed_process_has_claimed(tmp_path: Path) -> None:
    url = str(tmp_path / "r.db")
    with claimed(parse_place(str(tmp_path / "blobs")), f"sqlite:///{url}", shared=False):
        pass  # it was killed before there was a registry
    with open_registry(url, blobs=str(tmp_path / "blobs")) as registry:
        assert not registry.blobs.in_catalogue and registry.blobs.put(b"x")
    with open_registry(url, blobs=str(tmp_path / "blobs")) as registry:
        assert isinstance(open_store(registry.database), ExternalBlobStore)
    with pytest.raises(UsageError, match="keeps its blobs in"):
        open_registry(url, blobs=str(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists() and ABSENT not in registry.blobs
