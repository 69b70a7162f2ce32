"""Backups are whole registries, whoever writes meanwhile, and a registry that is made of one is the same."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from catalog.registry_fixtures import empty_postgres, new_postgres, oldest_sqlite
from registry.registry_support import jsonl, letters
from support.changed import change

import caa_registry as caa
from caa_registry.errors import CaaError, IntegrityError, RegistryError, UsageError, WriteError
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from caa_registry.models.model import Model

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts"))

from damage import views  # noqa: E402


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Iterator[Registry]:
    with caa.open(str(shutil.copy(whole, tmp_path / "copy.db"))) as registry:
        yield registry


def test_a_restored_backup_says_what_the_registry_says(whole: Path, copied: Registry, tmp_path: Path) -> None:
    made = copied.backup(tmp_path / "backup.db")
    assert made.path == tmp_path / "backup.db" and made.size == made.path.stat().st_size
    head = copied.audit.head()
    assert head is not None and (made.head, made.events) == (head.digest, len(copied.audit.ls()))
    before = made.path.read_bytes()
    with caa.restore(made.path, str(tmp_path / "new" / "registry.db")) as restored:
        assert restored.fsck().faults == ()
    assert views(tmp_path / "new" / "registry.db") == views(whole)
    assert made.path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "backup.db",
        "copy.db",
        *sides(tmp_path),
    ]


def sides(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(("-wal", "-shm")))


def test_only_its_owner_may_read_a_backup_of_what_only_they_may_read(copied: Registry, tmp_path: Path) -> None:
    assert copied.backup(tmp_path / "own.db").path.stat().st_mode & 0o777 == 0o600 == _mode(copied)
    assert copied.database.path is not None
    copied.database.path.chmod(0o640)
    assert copied.backup(tmp_path / "shared.db").path.stat().st_mode & 0o777 == 0o640


def _mode(registry: Registry) -> int:
    assert registry.database.path is not None
    registry.database.path.chmod(0o600)
    return registry.database.path.stat().st_mode & 0o777


def test_others_write_meanwhile(copied: Registry, tmp_path: Path) -> None:
    """In another thread, with connections of its own, and large enough for many steps of the copy."""
    copied.blobs.put(os.urandom(60_000_000))
    stop, written = threading.Event(), []

    def write() -> None:
        with caa.open(str(copied.database.path), actor="bob") as other:
            while not stop.is_set():
                other.aliases.set("team/praise:v1", f"a{len(written)}")
                written.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen: list[int] = []

        def told(done: int, total: int) -> None:
            # The copy waits for the writer, so that something is written in the middle of it.
            seen.append(total)
            assert len(seen) < 50  # else it has begun again
            count = len(written)
            while len(written) == count:
                pass

        made = copied.backup(tmp_path / "backup.db", progress=told)
    finally:
        stop.set()
        writer.join()
    # Not begun again with each step that another wrote in.
    assert 2 <= len(seen) < 10 and len(set(seen)) == 1
    with caa.open(str(made.path), read_only=True) as backup:
        assert backup.fsck().damage == ()
        aliases = len(backup.aliases.ls())
    assert aliases < len(copied.aliases.ls())


def test_a_folder_keeps_the_newest(copied: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "caa-notes.db").write_text("mine")
    made = [copied.backup(folder, keep=2) for _ in range(4)]
    assert [len(each.removed) for each in made] == [0, 0, 1, 1] and made[3].removed == (made[1].path,)
    assert sorted(folder.iterdir()) == sorted([folder / "caa-notes.db", made[2].path, made[3].path])


@pytest.mark.parametrize(
    ("destination", "keep", "words"),
    [
        ("taken.db", None, "taken.db exists"),
        ("taken.db", 2, "there is no folder"),
        ("none/backup.db", None, "there is no folder"),
        ("folder", 0, "cannot be kept"),
    ],
)
def test_a_bad_destination(copied: Registry, tmp_path: Path, destination: str, keep: int | None, words: str) -> None:
    (tmp_path / "taken.db").write_text("mine")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=words):
        copied.backup(tmp_path / destination, keep=keep)
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "taken.db").read_text() == "mine"


def test_an_interrupted_backup_leaves_nothing(copied: Registry, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "folder").mkdir()
    with pytest.raises(KeyboardInterrupt):
        copied.backup(tmp_path / "folder", progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        caa.restore(copied.backup(tmp_path / "backup.db").path, str(tmp_path / "folder" / "new.db"), progress=interrupt)
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_backup_gets_its_name_once_it_is_on_the_disk(
    copied: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, seen = os.fsync, []

    def noted(descriptor: int) -> None:
        # The first is that of the file, the second that of the folder.
        seen.append((tmp_path / "backup.db").exists())
        fsync(descriptor)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", noted)
    made = copied.backup(tmp_path / "backup.db")
    assert seen == [False, True] and made.size == made.path.stat().st_size
    monkeypatch.setattr(os, "fsync", full)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(WriteError, match="the disk is full"):
        copied.backup(tmp_path / "second.db")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_registry_gives_no_backup(whole: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(whole, tmp_path / "copy.db"))
    change(path, "UPDATE event SET actor = 'nobody' WHERE id = 2")
    with caa.open(str(path)) as registry, pytest.raises(IntegrityError, match="event 2"):
        registry.backup(tmp_path / "backup.db")
    assert not (tmp_path / "backup.db").exists()


def test_a_damaged_backup_is_not_restored(copied: Registry, tmp_path: Path) -> None:
    made = copied.backup(tmp_path / "backup.db")
    change(made.path, "UPDATE score SET value = 0.9 WHERE evaluation_id = 1 AND position = 0")
    with pytest.raises(IntegrityError, match="evaluation 1: its scores are not those that were stored") as caught:
        caa.restore(made.path, str(tmp_path / "new" / "registry.db"))
    assert "caa fsck --read-only --registry" in caught.value.hint
    assert list((tmp_path / "new").iterdir()) == []
    other = tmp_path / "other.db"
    other.write_bytes(b"no registry")
    for path in (other, tmp_path):
        with pytest.raises(RegistryError):
            caa.restore(path, str(tmp_path / "new.db"))
    with pytest.raises(UsageError, match=r"there is no file .*none\.db"):
        caa.restore(tmp_path / "none.db", str(tmp_path / "new.db"))
    assert not (tmp_path / "new.db").exists()


def test_a_backup_that_was_cut_off_is_not_restored(copied: Registry, tmp_path: Path) -> None:
    made = copied.backup(tmp_path / "backup.db")
    whole = made.path.read_bytes()
    for size in (len(whole) // 2, len(whole) // 2 + 100, len(whole) - 8192, 8192, 4096, 99):
        made.path.write_bytes(whole[:size])
        with pytest.raises((IntegrityError, RegistryError), match=r"backup\.db") as caught:
            caa.restore(made.path, str(tmp_path / "new" / "registry.db"))
        assert caught.value.hint
        assert not (tmp_path / "new").exists() or list((tmp_path / "new").iterdir()) == []


def test_a_log_that_was_left_is_not_played_into_another_registry(copied: Registry, tmp_path: Path) -> None:
    made = copied.backup(tmp_path / "backup.db")
    for name in ("new.db-wal", "other.db-journal"):
        (tmp_path / name).write_bytes(b"left by a registry that was removed")
    for place in (tmp_path / "new.db", tmp_path / "other.db"):
        with pytest.raises(RegistryError, match="is left of a registry that is not there any more"):
            caa.restore(made.path, str(place))
        with pytest.raises(RegistryError, match="is left of a registry that is not there any more"):
            copied.backup(place)
        with pytest.raises(RegistryError, match="is left of a registry that is not there any more"):
            caa.open(str(place))
        assert not place.exists()


def test_another_registry_keeps_its_own_backups(copied: Registry, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with caa.open(str(tmp_path / "new.db")) as other:
        other.datasets.import_("seed:demo-sentiment", name="team/s")
        made = [each.backup(tmp_path / "folder", keep=1).path for each in (copied, other, copied)]
    assert sorted((tmp_path / "folder").iterdir()) == sorted(made[1:])


def test_a_restore_to_postgres_is_whole_or_not_at_all(copied: Registry, tmp_path: Path) -> None:
    made = copied.backup(tmp_path / "backup.db")
    place = empty_postgres()

    def interrupt(done: int, total: int) -> None:
        if done > total * 0.9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        caa.restore(made.path, place, progress=interrupt)
    with caa.restore(made.path, place) as restored:
        assert restored.fsck().faults == ()


def test_a_backup_is_restored_into_an_empty_place_only(copied: Registry, tmp_path: Path) -> None:
    made = copied.backup(tmp_path / "backup.db")
    assert copied.database.path is not None
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for place, words in (
        (str(copied.database.path), "there is a registry at"),
        (str(taken), "is not a registry"),
        (new_postgres(), "there is a registry at"),
    ):
        with pytest.raises(CaaError, match=words):
            caa.restore(made.path, place)
    assert taken.read_text() == "mine"


def test_an_older_backup_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    oldest_sqlite(path, tmp_path / "migrations")
    before = path.read_bytes()
    with caa.restore(path, str(tmp_path / "new" / "registry.db")) as registry:
        assert list(registry.datasets.ls()) == []
    assert path.read_bytes() == before
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["registry.db"]


def test_postgres_is_backed_up_to_a_file_and_back(model: Model, tmp_path: Path) -> None:
    sources = {name: jsonl(tmp_path / f"{name}.jsonl", letters(4, about=name)) for name in ("generate", "test")}
    with caa.open(new_postgres()) as registry:
        pairs = registry.datasets.import_(sources, name="team/pairs")
        vector = registry.vectors.compute("team/vector", dataset=pairs, model=model)
        registry.evaluations.propensity(
            vector, dataset=pairs, split="test", model=model, layers=[1], multipliers=[-1, 0, 1]
        )
        registry.aliases.set("team/vector", "best")
        with pytest.raises(ZeroDivisionError), registry.database.write() as session:
            # PostgreSQL does not give a number again that it gave to what was rolled back.
            caa_row(session)
            raise ZeroDivisionError
        registry.datasets.import_(sources, name="team/more")
        first = said(registry)
        made = registry.backup(tmp_path / "backup.db")
    for number, place in enumerate((str(tmp_path / "new.db"), empty_postgres())):
        with caa.restore(made.path, place) as restored:
            assert restored.fsck().faults == ()
            assert said(restored) == first
            # Its numbers go on.
            restored.datasets.import_(str(tmp_path / "test.jsonl"), name="team/later")
            assert restored.fsck().faults == ()
            again = restored.backup(tmp_path / f"again{number}.db")
            assert again.events == made.events + 1


def caa_row(session: object) -> None:
    from datetime import UTC, datetime

    from sqlalchemy.orm import Session

    from caa_registry.catalog import models as t

    assert isinstance(session, Session)
    session.add(t.Dataset(name="team/gone", kind="pairs", created_at=datetime.now(UTC)))
    session.flush()


def said(registry: Registry) -> list[object]:
    vectors = registry.vectors.ls()
    return [
        list(registry.datasets.ls()),
        list(vectors),
        [(v.layer, v.sha256) for each in vectors for v in registry.vectors.load(each).layers],
        list(registry.evaluations.ls()),
        list(registry.aliases.ls()),
        [event.digest for event in registry.audit.ls()],
        [(run.run.id, run.inputs, run.outputs) for run in registry.runs.ls()],
    ]


def test_a_registry_is_read_where_nothing_can_be_written(unwritable: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="cannot be written") as caught:
        caa.open(str(unwritable))
    assert caught.value.hint.startswith("Give --read-only")
    with caa.open(str(unwritable), read_only=True) as registry:
        assert len(registry.datasets.ls()) == 2 and registry.fsck().faults == ()
        assert registry.vectors.layer("team/praise:v1", 1).layer == 1
        with pytest.raises(RegistryError, match="is opened read-only"):
            registry.aliases.set("team/praise:v1", "x")
        registry.backup(tmp_path / "backup.db")
    assert [each.name for each in unwritable.parent.iterdir()] == ["registry.db"]
    with caa.restore(unwritable, str(tmp_path / "restored.db")) as restored:
        assert restored.fsck().faults == ()


def test_an_older_registry_is_not_upgraded_where_it_is_only_read(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    oldest_sqlite(path, tmp_path / "migrations")
    before = path.read_bytes()
    with pytest.raises(RegistryError, match="has the older schema 0001"):
        caa.open(str(path), read_only=True)
    assert path.read_bytes() == before
