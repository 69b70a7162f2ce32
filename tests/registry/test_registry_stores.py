"""A registry whose blobs are in a folder or in a bucket is kept sound like any other."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from catalog.registry_fixtures import empty_postgres
from registry.registry_support import jsonl, letters
from sqlalchemy import func, select, text, update
from support.s3_server import KEY, SECRET, Fault, S3Server, s3

import caa_registry as caa
from caa_registry.blobs import removal
from caa_registry.blobs.objects import CLAIM, name_of
from caa_registry.catalog import models as t
from caa_registry.errors import BlobStoreError, CaaError, IntegrityError, RegistryError, UsageError
from caa_registry.registry.maintenance.signing.keys import new_key
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from caa_registry.models.model import Model

__all__ = ["s3"]

NOW = timedelta(0)
Damage = Callable[[str, bytes | None], None]


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the blobs of the registry go."""
    if request.param == "folder":
        return str(tmp_path / "blobs")
    server: S3Server = request.getfixturevalue("s3")
    return f"s3://{server.new_bucket()}/team"


@pytest.fixture
def registry(place: str, tmp_path: Path) -> Iterator[Registry]:
    with caa.open(str(tmp_path / "registry.db"), actor="ada", blobs=place) as opened:
        yield opened


def fill(registry: Registry, model: Model, folder: Path) -> Registry:
    """Pairs, a vector of them, and an evaluation of it."""
    sources = {name: jsonl(folder / f"{name}.jsonl", letters(4, about=name)) for name in ("generate", "test")}
    pairs = registry.datasets.import_(sources, name="team/pairs")
    vector = registry.vectors.compute("team/vector", dataset=pairs, model=model)
    registry.evaluations.propensity(
        vector, dataset=pairs, split="test", model=model, layers=[1], multipliers=[-1, 0, 1]
    )
    return registry


@pytest.fixture
def filled(registry: Registry, model: Model, tmp_path: Path) -> Registry:
    return fill(registry, model, tmp_path)


@pytest.fixture
def damage(filled: Registry) -> Damage:
    """Give a blob other bytes, or take it away."""

    def change(digest: str, data: bytes | None) -> None:
        objects: Any = filled.blobs._objects  # type: ignore[attr-defined]
        objects.remove([name_of(digest)])
        if data is not None:
            objects.write(name_of(digest), data)

    return change


def delete_all(registry: Registry) -> None:
    for name in ("evaluation:1", "team/vector"):
        registry.delete(name)


def test_the_database_holds_no_bytes_and_every_client_finds_the_store(filled: Registry, place: str) -> None:
    with filled.database.read() as session:
        assert session.scalar(select(func.count()).select_from(t.Blob)) == 0
    assert filled.blobs.shown == place and len(list(filled.blobs.ls())) == 2
    with caa.open(str(filled.database.path), create=False, read_only=True) as other:
        assert other.blobs.shown == place
        assert other.vectors.load("team/vector").layers and other.evaluations.measurements(1).vector is not None
    report = filled.fsck()
    assert report.faults == () and report.checked["blobs"] == 2


def test_gc_removes_what_nothing_needs(filled: Registry, model: Model) -> None:
    delete_all(filled)
    orphan = filled.blobs.put(b"left behind")
    assert filled.gc().blobs == 0
    filled.undelete("team/vector")
    assert filled.vectors.load("team/vector").layers
    filled.delete("team/vector")
    told = filled.gc(grace=NOW, dry_run=True)
    assert told.blobs == 3 and told.bytes > 100 and len(list(filled.blobs.ls())) == 3
    assert filled.gc(grace=NOW) == told and filled.gc(grace=NOW).blobs == 0
    assert list(filled.blobs.ls()) == [] and orphan not in filled.blobs
    assert filled.fsck().faults == () and marks(filled) == 0
    with pytest.raises(UsageError, match="removed by caa gc"):
        filled.undelete("team/vector")
    assert filled.vectors.compute("team/vector", dataset="team/pairs", model=model).reference == "team/vector:v1"
    assert filled.vectors.load("team/vector").layers and filled.fsck().faults == ()


def marks(registry: Registry) -> int:
    with registry.database.read() as session:
        found = session.scalar(select(func.count()).where(t.Meta.key.startswith(removal.PREFIX)))
    return found or 0


class KilledError(Exception):
    """Stands for the end of a process."""


def test_what_a_gc_that_was_killed_has_marked_is_not_used(
    filled: Registry, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have sent a request that is carried out later. Nobody refers to these bytes until that cannot be."""
    delete_all(filled)

    def killed(digests: object) -> int:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(filled.blobs, "delete", killed)
        with pytest.raises(KilledError):
            filled.gc(grace=NOW)
    assert marks(filled) == 1 and filled.fsck().faults == ()
    with pytest.raises(UsageError, match="removed by caa gc"):
        filled.undelete("team/vector")
    with pytest.raises(RegistryError, match="removed bytes that were just stored"):
        filled.vectors.compute("team/vector", dataset="team/pairs", model=model)
    assert filled.gc(grace=NOW).blobs == 0  # what another may still be removing
    # The late request is carried out.
    filled.blobs.delete(list(filled.blobs.ls()))
    assert filled.fsck().faults == ()
    monkeypatch.setattr(removal, "_STANDING", NOW)  # as if its time were over
    assert filled.vectors.compute("team/vector", dataset="team/pairs", model=model).reference == "team/vector:v1"
    filled.blobs.put(b"left behind")
    assert filled.gc(grace=NOW).blobs >= 1 and marks(filled) == 0
    assert filled.fsck().faults == () and filled.vectors.load("team/vector").layers


def test_a_gc_that_slept_removes_nothing_any_more(filled: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    delete_all(filled)
    monkeypatch.setattr(removal, "_SENDING", NOW)
    with pytest.raises(BlobStoreError, match="too long"):
        filled.gc(grace=NOW)
    assert len(list(filled.blobs.ls())) == 2


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_whoever_refers_to_bytes_while_they_are_removed_has_them_or_is_told(
    filled: Registry, model: Model, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Another client uses the same bytes at every moment of a removal: whatever comes of it, nothing is missing."""
    delete_all(filled)
    removed = filled.blobs.delete

    def compute() -> None:
        with (
            caa.open(str(filled.database.path), create=False) as other,
            suppress(CaaError),
        ):
            other.vectors.compute("team/vector", dataset="team/pairs", model=model)

    def slow(digests: list[str]) -> int:
        if moment == "before":
            compute()
        objects: Any = filled.blobs._objects  # type: ignore[attr-defined]
        if moment == "between":
            for digest in digests:
                objects.remove([name_of(digest)])
                compute()
        size = removed(digests)
        if moment == "after":
            compute()
        return size

    monkeypatch.setattr(filled.blobs, "delete", slow)
    filled.gc(grace=NOW)
    monkeypatch.undo()
    assert filled.fsck().damage == ()
    filled.vectors.compute("team/vector", dataset="team/pairs", model=model)
    assert filled.vectors.load("team/vector").layers and filled.fsck().damage == ()


def test_several_gcs_and_a_check_at_once(filled: Registry) -> None:
    delete_all(filled)
    found: list[int] = []
    begun = threading.Event()

    def meanwhile(done: int, total: int) -> None:
        if not begun.is_set():
            begun.set()
            threads = [threading.Thread(target=lambda: found.append(filled.gc(grace=NOW).blobs)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            filled.blobs.put(b"of a writer that goes on")

    assert filled.fsck(progress=meanwhile).faults == () and begun.is_set()
    assert len(found) == 4 and sum(found) == 2 and marks(filled) == 0


def test_what_goes_while_it_is_checked_is_no_damage(filled: Registry) -> None:
    """Its row is there as the check sees the registry, and its bytes are not any more."""
    order: list[str] = []
    stats = filled.blobs.stats

    def listed(*arguments: Any, **named: Any) -> Any:
        if not order:
            order.append("listed")
            delete_all(filled)
            filled.gc(grace=NOW)
        return stats(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filled.blobs, "read_each", reading_after(filled, listed))
        assert filled.fsck().faults == () and order


def reading_after(registry: Registry, first: Callable[[], Any]) -> Any:
    read_each = registry.blobs.read_each

    def reads(*arguments: Any) -> Any:
        for each in read_each(*arguments):
            list(first())
            yield each

    return reads


def test_checks_read_the_store_and_not_what_was_kept_of_it(filled: Registry, damage: Damage, tmp_path: Path) -> None:
    new_key(tmp_path / "ada.pem")
    for reference in ("team/vector", "evaluation:1"):
        filled.sign(reference, tmp_path / "ada.pem")
    version, items = filled.vectors.get("team/vector"), filled.evaluations.get(1).measurements
    assert items is not None
    for digest in (version.blob, items):
        damage(digest, filled.blobs.get(digest)[:-1] + b"x")
    for check in (
        lambda: filled.vectors.verify("team/vector"),
        lambda: filled.evaluations.verify(1),
        lambda: filled.verify("vector:team/vector"),
        lambda: filled.verify("evaluation:1"),
        lambda: filled.sign("vector:team/vector", tmp_path / "ada.pem"),
    ):
        with pytest.raises(IntegrityError):
            check()


@pytest.mark.parametrize("what", ["gone", "changed", "cut off"])
def test_damage_is_found_told_and_quarantined(filled: Registry, damage: Damage, what: str) -> None:
    version, items = filled.vectors.get("team/vector"), filled.evaluations.get(1).measurements
    assert items is not None
    for digest in (version.blob, items):
        data = filled.blobs.get(digest)
        damage(digest, None if what == "gone" else data[:-8] if what == "cut off" else data[:-1] + b"x")
    forget()
    report = filled.fsck()
    assert {fault.thing for fault in report.damage} <= {
        *("vector team/vector:v1", "evaluation 1", f"blob {version.blob}", f"blob {items}")
    }
    assert sorted(fault.check for fault in report.damage) == ["evaluations", "vectors"]
    with pytest.raises(CaaError):
        filled.vectors.load("team/vector")
    lost = filled.backup(filled.database.path.parent / "b.db").lost  # type: ignore[union-attr]
    assert lost == tuple(sorted([version.blob, items]))
    assert filled.repair(report).quarantined == ("evaluation 1", "vector team/vector:v1")
    assert len(filled.fsck().damage) == 2


def forget() -> None:
    """Empty the cache of what was read."""
    shutil.rmtree(Path(os.environ["CAA_HOME"]) / "cache" / "blobs", ignore_errors=True)


def test_a_backup_is_whole_and_is_restored_anywhere(
    filled: Registry, place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    filled.delete("evaluation:1")
    orphan = filled.blobs.put(b"left behind")
    made = filled.backup(tmp_path / "b.db")
    assert made.lost == ()
    numbers = filled.vectors.load("team/vector").tensor_digest
    with caa.open(str(made.path), create=False, read_only=True) as backup:
        assert backup.blobs.in_catalogue and backup.fsck().faults == () and orphan not in backup.blobs
        assert backup.vectors.load("team/vector").tensor_digest == numbers
    before = made.path.read_bytes()
    other = f"{place}-2" if place.startswith("s3") else str(tmp_path / "more" / "blobs")
    for url, blobs in (("plain.db", None), ("apart.db", other)):
        with caa.restore(made.path, str(tmp_path / url), blobs=blobs) as restored:
            assert restored.fsck().faults == () and restored.vectors.load("team/vector").tensor_digest == numbers
            assert restored.blobs.in_catalogue == (blobs is None)
            with restored.database.read() as session:
                assert session.scalar(select(func.count()).select_from(t.Blob)) == (2 if blobs is None else 0)
            restored.undelete("evaluation:1")
            assert restored.fsck().faults == ()
            with caa.restore(restored.backup(tmp_path / f"again-{url}").path, str(tmp_path / f"2-{url}")) as again:
                assert again.fsck().faults == () and again.evaluations.get(1)
    assert made.path.read_bytes() == before
    # A file whose blobs are elsewhere is no backup.
    with pytest.raises(UsageError, match="no backup"):
        caa.restore(str(filled.database.path), str(tmp_path / "none.db"))
    # Neither is a place where others keep theirs one to restore to.
    with pytest.raises(UsageError, match="another registry"):
        caa.restore(made.path, str(tmp_path / "none.db"), blobs=place)
    assert not (tmp_path / "none.db").exists() and filled.fsck().damage == ()


def test_a_restore_that_fails_leaves_nothing(filled: Registry, tmp_path: Path, s3: S3Server) -> None:
    made = filled.backup(tmp_path / "b.db")
    bucket = s3.new_bucket()
    s3.faults = [Fault("PUT", 403, "AccessDenied", part="/sha256/", times=100)]
    with pytest.raises(BlobStoreError, match="denied"):
        caa.restore(made.path, str(tmp_path / "new" / "r.db"), blobs=f"s3://{bucket}/x")
    s3.faults = []
    assert not (tmp_path / "new" / "r.db").exists()
    with caa.restore(made.path, str(tmp_path / "other.db"), blobs=f"s3://{bucket}/x") as restored:
        assert restored.fsck().faults == ()


def test_a_registry_on_a_server_is_kept_in_a_bucket(model: Model, tmp_path: Path, s3: S3Server) -> None:
    url, place = empty_postgres(), f"s3://{s3.new_bucket()}"
    with caa.open(url, actor="ada", blobs=place) as registry:
        fill(registry, model, tmp_path)
    with caa.open(url, create=False) as registry:
        assert registry.blobs.shown == place and registry.fsck().faults == ()
        made = registry.backup(tmp_path / "b.db")
        delete_all(registry)
        assert registry.gc(grace=NOW).blobs == 2 and registry.fsck().faults == ()
    target = empty_postgres()
    with caa.restore(made.path, target, blobs=f"{place}/restored") as restored:
        assert restored.fsck().faults == () and restored.vectors.load("team/vector").layers
        assert restored.blobs.shown == f"{place}/restored"


@pytest.mark.parametrize("kind", [(403, "AccessDenied"), (404, "NoSuchBucket"), (503, "SlowDown")], ids=str)
def test_a_bucket_that_is_not_there_is_said_when_the_registry_is_made(
    tmp_path: Path, s3: S3Server, kind: tuple[int, str]
) -> None:
    s3.faults = [Fault("*", kind[0], kind[1], times=1000)]
    with pytest.raises(BlobStoreError) as error:
        caa.open(str(tmp_path / "new" / "r.db"), blobs=f"s3://{s3.new_bucket()}/x")
    assert error.value.hint and list(tmp_path.iterdir()) == []


def test_an_outage_is_not_taken_for_damage(filled: Registry, s3: S3Server) -> None:
    if filled.blobs.shown.startswith("s3"):
        s3.faults = [Fault("*", "refuse", times=10_000)]
        said = "cannot be reached"
    else:
        Path(filled.blobs.shown).rename(f"{filled.blobs.shown}-unmounted")
        said = "not a folder that keeps blobs"
    forget()
    before = filled.audit.head()
    attempts: list[Callable[[], object]] = [
        filled.fsck,
        lambda: filled.gc(grace=NOW),
        lambda: filled.vectors.load("team/vector"),
        lambda: filled.backup(filled.database.path.parent / "b.db"),  # type: ignore[union-attr]
    ]
    for attempt in attempts:
        with pytest.raises(BlobStoreError, match=said):
            attempt()
    assert filled.audit.head() == before and not (filled.database.path.parent / "b.db").exists()  # type: ignore[union-attr]


def test_fsck_reads_many_blobs_at_once(filled: Registry, s3: S3Server) -> None:
    if not filled.blobs.shown.startswith("s3"):
        pytest.skip("files are read one after another")
    digests = [filled.blobs.put(b"%d" % number) for number in range(40)]
    with pytest.MonkeyPatch.context() as patch:
        # As if they had been stored long ago.
        patch.setattr("caa_registry.registry.maintenance.contents._SECONDS", -timedelta(hours=1))
        s3.gate = threading.Barrier(2)
        report = filled.fsck()
    assert len(report.faults) == len(digests) and report.damage == ()


def test_a_registry_does_not_say_where_its_blobs_are(filled: Registry) -> None:
    with filled.database.write() as session:
        session.execute(update(t.Meta).where(t.Meta.key == "blobs").values(value="{"))
    with pytest.raises(RegistryError, match="does not say where its blobs are"):
        caa.open(str(filled.database.path), create=False)
    value = json.dumps({"kind": "tape", "owner": "", "where": "3"})
    with filled.database.write() as session:
        session.execute(update(t.Meta).where(t.Meta.key == "blobs").values(value=value))
    with pytest.raises(RegistryError, match="tape, which this caa does not know"):
        caa.open(str(filled.database.path), create=False)


def test_what_another_registry_keeps_is_not_removed(filled: Registry, tmp_path: Path) -> None:
    objects: Any = filled.blobs._objects  # type: ignore[attr-defined]
    objects.write(CLAIM, b'{"registry": "sha256:another"}')
    for attempt in (lambda: filled.gc(grace=NOW), filled.fsck):
        with pytest.raises(BlobStoreError, match="missing or another's"):
            attempt()
    assert filled.vectors.load("team/vector").layers


def test_no_key_is_kept_anywhere(model: Model, tmp_path: Path, s3: S3Server) -> None:
    with caa.open(str(tmp_path / "r.db"), actor="ada", blobs=f"s3://{s3.new_bucket()}/x") as registry:
        fill(registry, model, tmp_path)
        s3.faults = [Fault("GET", 403, "SignatureDoesNotMatch", times=3)]
        forget()
        with pytest.raises(BlobStoreError):
            registry.vectors.load("team/vector")
        s3.faults = []
        registry.backup(tmp_path / "b.db")
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        data = path.read_bytes()
        assert not any(secret.encode() in data for secret in (KEY, SECRET, s3.url)), path


def test_versions_go_from_one_store_to_another(filled: Registry, tmp_path: Path) -> None:
    """To registries whose bytes are in their database and in a folder, and in one file."""
    numbers = filled.vectors.get("team/vector").tensor_digest
    filled.bundle("team/vector:v1", path=tmp_path / "one.caa")
    for number, blobs in enumerate([None, str(tmp_path / "third")]):
        path = tmp_path / f"{number}.db"
        caa.open(str(path), blobs=blobs).close()
        filled.push("team/vector:v1", to=str(path))
        with caa.open(str(path), create=False) as other:
            assert other.vectors.load("team/vector").tensor_digest == numbers
            assert other.blobs.in_catalogue == (blobs is None) and other.fsck().faults == ()
    with caa.open(str(tmp_path / "back.db"), blobs=str(tmp_path / "fourth")) as back:
        back.pull("team/vector:v1", source=str(filled.database.path))
        assert back.vectors.load("team/vector").tensor_digest == numbers and back.fsck().faults == ()
    with caa.open(str(tmp_path / "opened.db"), blobs=str(tmp_path / "fifth")) as opened:
        opened.open_bundle(tmp_path / "one.caa")
        assert opened.vectors.load("team/vector").tensor_digest == numbers and opened.fsck().faults == ()


def test_a_gc_that_loses_its_connection_amid_a_removal(model: Model, tmp_path: Path, s3: S3Server) -> None:
    """The lock that it held is anybody's then, and its removal is carried out all the same."""
    url = empty_postgres()
    with caa.open(url, actor="ada", blobs=f"s3://{s3.new_bucket()}") as registry:
        fill(registry, model, tmp_path)
        delete_all(registry)
        removed = registry.blobs.delete

        def slow(digests: list[str]) -> int:
            with caa.open(url, create=False) as other:
                with other.database.write() as session:
                    others = "datname = current_database() AND pid <> pg_backend_pid()"
                    session.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
                with suppress(CaaError):
                    other.vectors.compute("team/vector", dataset="team/pairs", model=model)
            return removed(digests)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(registry.blobs, "delete", slow)
            with suppress(CaaError):
                registry.gc(grace=NOW)
    with caa.open(url, create=False) as registry:
        assert registry.fsck().damage == ()


def test_a_copy_has_bytes_of_its_own(filled: Registry, tmp_path: Path) -> None:
    """It never shares a place with its source, whose gc would remove what the copy needs."""
    source = str(filled.database.path)
    for target, blobs in (("plain.db", None), ("elsewhere.db", str(tmp_path / "other-bytes"))):
        with caa.copy(source, tmp_path / target, blobs=blobs) as made:
            assert made.blobs.in_catalogue == (blobs is None) and made.blobs.shown != filled.blobs.shown
            assert set(made.blobs.ls()) == set(filled.blobs.ls())
            assert made.fsck().faults == ()
    delete_all(filled)
    filled.gc(grace=NOW)
    for target in ("plain.db", "elsewhere.db"):
        with caa.open(str(tmp_path / target), create=False) as made:
            assert made.fsck().damage == ()


def test_a_copy_of_bytes_that_are_lost_is_refused(filled: Registry, damage: Damage, tmp_path: Path) -> None:
    damage(filled.vectors.get("team/vector").blob, None)
    forget()
    with pytest.raises(IntegrityError, match="has lost 1 blob"):
        caa.copy(str(filled.database.path), tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
