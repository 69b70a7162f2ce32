"""A folder as a remote: a bundle for each version, whole or not at all, from anybody."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from catalog.registry_fixtures import new_sqlite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registry.registry_support import counts, jsonl, letters
from registry.test_registry_bundles import entries_of, resealed, setting, written
from registry.test_registry_transfer import everything
from sqlalchemy import select

import caa_registry as caa
from caa_registry.catalog import models as t
from caa_registry.errors import (
    ConflictError,
    InputError,
    IntegrityError,
    NotFoundError,
    UsageError,
    WriteError,
)
from caa_registry.registry.maintenance.signing.keys import new_key
from caa_registry.registry.registry import Registry
from caa_registry.registry.transfer.bundles import writing
from caa_registry.registry.transfer.folder import pushing


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


@pytest.fixture
def source(tmp_path: Path, whole: Path) -> Iterator[Registry]:
    """A registry with some of everything."""
    with caa.open(str(shutil.copy(whole, tmp_path / "source.db")), actor="ada") as registry:
        yield registry


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Registry]:
    """An empty registry."""
    (tmp_path / "other").mkdir()
    with caa.open(new_sqlite(tmp_path / "other"), actor="bob", create=False) as registry:
        yield registry


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All files of a folder, with their bytes and when they were written."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


def name_of(registry: Registry, reference: str) -> str:
    """What the bundle of ``KIND:NAME:vN`` is called."""
    kind, _, rest = reference.partition(":")
    version = registry.datasets.get(rest) if kind == "dataset" else registry.vectors.get(rest)
    return f"{kind}-{version.name.replace('/', '+')}-v{version.number}-{version.digest[7:19]}.caa"


def bundle_of(share: Path, start: str) -> Path:
    """The one bundle whose name begins so."""
    (path,) = share.glob(f"{start}-*.caa")
    return path


def test_everything_gets_there_and_back_and_nothing_is_written_twice(
    source: Registry, other: Registry, share: Path, tmp_path: Path
) -> None:
    references = everything(source)
    sent = source.push(*references, to=str(share))
    assert all(version.new and version.became == version.reference for version in sent.versions) and sent.notes == ()
    assert set(files(share)) == {name_of(source, reference) for reference in references}
    assert source.diff(str(share)) == []
    before = files(share)
    again = source.push(*references, to=f"{share}/")
    assert files(share) == before
    assert not any(version.new or version.added for version in again.versions) and again.notices == 0
    pulled = other.pull(*references, source=str(share))
    assert {version.became for version in pulled.versions} == {each.partition(":")[2] for each in references}
    assert other.fsck().faults == () and other.diff(str(source.database.path)) == [] == other.diff(str(share))
    assert len(other.evaluations.ls()) == len(source.evaluations.ls())
    ours = {(v.reference, v.digest, v.quarantined, v.deprecated) for v in source.vectors.ls()}
    assert {(v.reference, v.digest, v.quarantined, v.deprecated) for v in other.vectors.ls()} == ours
    once = counts(other)
    assert not any(v.new or v.added for v in other.pull(*references, source=str(share)).versions)
    assert counts(other) == once
    # What is written there is a bundle like any other.
    for path in share.iterdir():
        assert caa.read_bundle(path).versions
    assert (share.stat().st_mode | 0o666) & 0o777 and bundle_of(share, "vector-team+theirs-v1").stat().st_mode & 0o044


def test_an_alias_of_the_folder_is_set_here_where_it_is_asked_for(
    source: Registry, other: Registry, share: Path
) -> None:
    source.push("vector:team/praise:v1", to=str(share))
    source.push("vector:team/praise:best", to=str(share))
    (path,) = share.iterdir()
    assert [version.alias for version in caa.read_bundle(path).versions] == ["best"]
    other.pull("vector:team/praise:v1", source=str(share))
    assert other.aliases.get("vector:team/praise:best") is None
    other.pull("vector:team/praise:best", source=str(share))
    alias, ours = other.aliases.get("vector:team/praise:best"), source.aliases.get("vector:team/praise:best")
    assert alias is not None and ours is not None
    assert (alias.target, alias.recommendation) == (ours.target, ours.recommendation)
    # Another alias of the same version stands beside it, and one that is taken is left.
    source.aliases.set("vector:team/praise:v1", "first")
    source.push("vector:team/praise:first", to=str(share))
    assert sorted(version.alias for version in caa.read_bundle(path).versions) == ["best", "first"]
    source.aliases.set("vector:team/praise:v2", "first")
    sent = source.push("vector:team/praise:first", to=str(share))
    assert sent.versions[0].new and "team/praise:first is team/praise:v1 there and was left" in sent.notes[0]
    assert other.pull("vector:team/praise:first", source=str(share)).versions[0].reference == "team/praise:v1"


def test_what_came_since_is_added_from_both_sides_and_nothing_is_lost(
    source: Registry, other: Registry, share: Path, tmp_path: Path
) -> None:
    source.push("vector:team/praise:v1", to=str(share))
    path = bundle_of(share, "vector-team+praise-v1")
    first = caa.read_bundle(path)
    other.pull("vector:team/praise:v1", source=str(share))
    # Each registry says something that the other one does not know.
    new_key(tmp_path / "bob.pem")
    other.sign("vector:team/praise:v1", tmp_path / "bob.pem")
    gone = next(e.id for e in other.evaluations.ls() if e.vector == "team/praise:v1" and e.kind == "side-effects")
    other.delete(f"evaluation:{gone}")
    source.quarantine("vector:team/praise:v1", why="it does not hold")
    source.evaluations.propensity("team/praise:v1", model="demo", layers=[2], multipliers=[-1.0, 0.0, 1.0])
    mine = source.push("vector:team/praise:v1", to=str(share))
    assert (mine.versions[0].new, mine.versions[0].added, mine.notices) == (False, 1, 1)
    theirs = other.push("vector:team/praise:v1", to=str(share))
    assert (theirs.versions[0].added, theirs.notices) == (0, 1)
    second = caa.read_bundle(path)
    assert (second.evaluations, second.notices) == (first.evaluations + 1, first.notices + 2)
    before = files(share)
    for registry in (source, other):
        assert registry.push("vector:team/praise:v1", to=str(share)).notices == 0
    assert files(share) == before
    with caa.open(str(tmp_path / "third.db"), actor="eve") as third:
        third.pull("vector:team/praise:v1", source=str(share))
        assert third.fsck().faults == ()
        assert "it does not hold" in third.vectors.get("team/praise:v1").quarantined
        assert len(third.evaluations.ls()) == second.evaluations
        assert len(third.verify("vector:team/praise:v1").signatures) == 2


def test_recalls_reach_those_who_pulled_once_they_are_in_the_folder(
    source: Registry, other: Registry, share: Path
) -> None:
    source.push("vector:team/praise:v1", "dataset:team/questions:v1", to=str(share))
    other.pull("vector:team/praise:v1", source=str(share))
    pairs = source.datasets.pairs(source.vectors.get("team/praise:v1").dataset)
    source.datasets.recall(pairs[0].digest, why="it is a joke")
    assert other.pull(source=str(share)).notices == 0
    source.push("vector:team/praise:v1", to=str(share))
    # With whatever else is pulled.
    assert other.pull("dataset:team/questions:v1", source=str(share)).notices == 1
    assert "it is a joke" in other.vectors.get("team/praise:v1").quarantined
    assert other.pull(source=str(share)) == caa.Transfer(f"{share}/", (), 0)
    assert other.fsck().faults == ()


def test_a_number_that_is_taken_becomes_the_next_one_there_and_here(
    source: Registry, other: Registry, share: Path, tmp_path: Path
) -> None:
    other.datasets.import_(jsonl(tmp_path / "own.jsonl", letters(3, about="own")), name="team/dishes")
    source.push("dataset:team/dishes:v1", to=str(share))
    sent = other.push("dataset:team/dishes:v1", to=str(share))
    assert [(v.reference, v.became, v.new) for v in sent.versions] == [("team/dishes:v1", "team/dishes:v2", True)]
    again = other.push("dataset:team/dishes:v1", to=str(share))
    assert [(v.became, v.new) for v in again.versions] == [("team/dishes:v2", False)]
    pulled = other.pull("dataset:team/dishes:v1", source=str(share))
    assert [(v.reference, v.became, v.new) for v in pulled.versions] == [("team/dishes:v1", "team/dishes:v2", True)]
    told = next(event for event in other.audit.ls() if event.action == "receive" and "dataset" in event.subject)
    assert (told.subject["dataset"], told.subject["theirs"]) == ("team/dishes:v2", "team/dishes:v1")
    found = {(each.here, each.there, each.clash) for each in other.diff(str(share)) if each.kind == "dataset"}
    assert found == {("team/dishes:v1", "team/dishes:v2", True), ("team/dishes:v2", "team/dishes:v1", True)}


def test_references_mean_what_they_mean_in_a_registry(source: Registry, other: Registry, share: Path) -> None:
    source.push(*everything(source), "dataset:team/dishes:main", to=str(share))

    def found(reference: str) -> tuple[str, str]:
        (version,) = other.pull(reference, source=str(share)).versions
        return version.kind, version.reference

    digest = source.vectors.get("team/praise:v1").digest
    assert found("team/praise") == ("vector", "team/praise:v2")  # the newest
    assert found("team/praise:latest") == found("team/praise")
    assert found("team/praise:v1") == ("vector", "team/praise:v1")
    assert found(f"team/praise@{digest[:15]}") == found(f"team/praise:v1@{digest}") == ("vector", "team/praise:v1")
    assert found("dataset:team/dishes:main") == found("team/dishes:main") == ("dataset", "team/dishes:v1")
    for reference, message in (
        ("team/prase", r"no dataset or vector team/prase in .*\n?Did you mean team/praise"),
        ("dataset:team/praise", "no dataset team/praise in"),
        ("zzz", r"no dataset or vector zzz in .*(.|\n)*It holds team/dishes, "),
        ("team/praise:v9", r"vector team/praise has no version v9 in(.|\n)*It has v1 to v2|v1, v2"),
        ("team/praise:nowhere", "vector team/praise has no alias 'nowhere' in"),
        ("team/praise@sha256:00000000", "vector team/praise has no version sha256:00000000 in"),
    ):
        with pytest.raises(NotFoundError, match=message):
            other.pull(reference, source=str(share))
    for reference, message in (
        (f"team/praise:v2@{digest}", "tag and digest disagree"),
        ("evaluation:1", "cannot be sent by itself"),
        ("team/praise:v1@x", "is not a digest"),
    ):
        with pytest.raises(UsageError, match=message):
            other.pull(reference, source=str(share))


def test_what_went_along_is_named_by_what_it_went_with(source: Registry, other: Registry, share: Path) -> None:
    source.push("vector:team/praise:v1", to=str(share))
    assert not [each for each in source.diff(str(share)) if each.here == "team/dishes:v1"]
    with pytest.raises(NotFoundError, match=r"goes along with another version: vector:team/praise:v1"):
        other.pull("dataset:team/dishes", source=str(share))
    with pytest.raises(NotFoundError, match="no vector team/dishes"):
        other.pull("vector:team/dishes", source=str(share))


def test_of_a_bundle_of_several_versions_one_is_taken_and_it_is_left_as_it_is(
    source: Registry, other: Registry, share: Path, tmp_path: Path
) -> None:
    source.bundle("vector:team/praise:best", "dataset:team/questions:v1", "vector:team/theirs:v1", path=share / "a.caa")
    pulled = other.pull("team/theirs", source=str(share))
    assert [version.reference for version in pulled.versions] == ["team/theirs:v1"]
    assert list(other.datasets.ls()) == [] == list(other.evaluations.ls())
    before = files(share)
    sent = source.push("vector:team/praise:best", "team/theirs:v1", to=str(share))
    assert not any(version.new or version.added for version in sent.versions) and files(share) == before
    source.quarantine("vector:team/praise:v1", why="it does not hold")
    new_key(tmp_path / "ada.pem")
    source.sign("vector:team/praise:v1", tmp_path / "ada.pem")
    source.push("vector:team/praise:v1", to=str(share))
    assert (share / "a.caa").read_bytes() == before["a.caa"][0] and len(files(share)) == 2
    other.pull("team/praise:best", source=str(share))  # from both
    assert "it does not hold" in other.vectors.get("team/praise:v1").quarantined
    assert len(other.verify("vector:team/praise:v1").signatures) == 2
    assert other.aliases.get("vector:team/praise:best") is not None and other.fsck().faults == ()


def test_two_versions_with_one_number_are_told_apart(
    source: Registry, other: Registry, share: Path, tmp_path: Path
) -> None:
    """As where two people push at the same moment."""
    other.datasets.import_(jsonl(tmp_path / "own.jsonl", letters(3, about="own")), name="team/dishes")
    source.bundle("dataset:team/dishes:v1", path=share / "a.caa")
    other.bundle("dataset:team/dishes:v1", path=share / "b.caa")
    digest = source.datasets.get("team/dishes:v1").digest
    with caa.open(str(tmp_path / "third.db")) as third:
        with pytest.raises(UsageError, match=rf"fits several versions(.|\n)*team/dishes@{digest[:19]}"):
            third.pull("team/dishes", source=str(share))
        third.pull(f"team/dishes@{digest[:19]}", source=str(share))
        assert third.datasets.get("team/dishes").digest == digest
        assert len(third.diff(str(share))) == 1


class Stop(Exception):
    """Something that nobody expects."""


def half(path: Path, entries: Any) -> None:
    """Write half of a bundle."""
    for name, data in entries:
        path.write_bytes(name.encode() + data[: len(data) // 2])
        raise Stop


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), Stop()])
def test_an_interrupted_push_leaves_the_folder_as_it_was(
    source: Registry, share: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.push("dataset:team/dishes:v1", "vector:team/praise:v1", to=str(share))
    source.quarantine("vector:team/praise:v1", why="it does not hold")
    before = files(share)

    def fail(path: Path, entries: Any) -> None:
        with pytest.raises(Stop):
            half(path, entries)
        raise error

    with monkeypatch.context() as patch, pytest.raises((WriteError, KeyboardInterrupt, Stop)):
        patch.setattr(writing, "write_archive", fail)
        source.push("vector:team/praise:v1", "vector:team/theirs:v1", to=str(share))
    assert files(share) == before
    source.push("vector:team/praise:v1", "vector:team/theirs:v1", to=str(share))
    assert len(files(share)) == 3 and source.diff(str(share))


KILLED = """
import os, signal, sys
import caa_registry as caa
from caa_registry.registry.transfer.bundles import writing

def half(path, entries):
    path.write_bytes(next(iter(entries))[1])
    os.kill(os.getpid(), signal.SIGKILL)

writing.write_archive = half
caa.open(sys.argv[1]).push("vector:team/praise:v1", to=sys.argv[2])
"""


def test_what_a_push_that_was_killed_leaves_goes_with_the_next_one(source: Registry, share: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(source.database.path), str(share)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = share.iterdir()
    assert left.name.startswith(".caa-push-") and left.name.endswith(".part")
    # One that somebody writes at this moment stays, and so does what is only called nearly so.
    going_on, others = share / f".caa-push-{'0' * 16}.part", share / ".caa-push-notes.part"
    going_on.touch()
    others.touch()
    with going_on.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        source.push("vector:team/praise:v1", to=str(share))
        assert sorted(files(share)) == sorted([going_on.name, others.name, bundle_of(share, "vector").name])
    source.push("vector:team/praise:v1", to=str(share))
    assert sorted(files(share)) == sorted([others.name, bundle_of(share, "vector").name])


def test_a_bundle_that_somebody_else_replaces_meanwhile_is_read_again(
    source: Registry, other: Registry, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.push("vector:team/praise:v1", to=str(share))
    other.pull("vector:team/praise:v1", source=str(share))
    other.quarantine("vector:team/praise:v1", why="bob says no")
    source.quarantine("vector:team/praise:v1", why="ada says no")
    write, times = pushing.write, []

    def late(*arguments: Any) -> None:
        write(*arguments)
        if not times:
            times.append(1)
            other.push("vector:team/praise:v1", to=str(share))

    with monkeypatch.context() as patch:
        patch.setattr(pushing, "write", late)
        assert source.push("vector:team/praise:v1", to=str(share)).notices == 1
    (path,) = share.iterdir()
    held = [data for name, data in entries_of(path) if b"says no" in data]
    assert len(held) == 1 and b"bob says no" in held[0] and b"ada says no" in held[0]

    def always(*arguments: Any) -> None:
        write(*arguments)
        os.utime(path, ns=(0, len(times)))
        times.append(1)

    source.quarantine("vector:team/praise:v1", why="", lift=True)
    before = path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(ConflictError, match="changes all the time"):
        patch.setattr(pushing, "write", always)
        source.push("vector:team/praise:v1", to=str(share))
    assert path.read_bytes() == before and list(share.iterdir()) == [path]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    """A member is damaged, and the manifest is not."""
    data = bytearray(path.read_bytes())
    place = data.rindex(b'"key":["vector"')
    data[place + 20] ^= 1
    path.write_bytes(bytes(data))


def newer(path: Path) -> None:
    written(path, resealed(setting("schema", to="caa-registry/bundle/v9"), "manifest")(entries_of(path)))


@pytest.mark.parametrize("damage", [cut, emptied, newer])
def test_a_damaged_bundle_hides_no_other_and_is_refused_where_it_is_asked_for(
    source: Registry, other: Registry, share: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    source.push("vector:team/praise:v1", "vector:team/praise:v2", "vector:team/theirs:v1", to=str(share))
    path = bundle_of(share, "vector-team+praise-v2")
    damage(path)
    before, data = counts(other), path.read_bytes()
    for reference in ("team/praise:v2", "team/praise", f"team/praise@{source.vectors.get('team/praise:v2').digest}"):
        with pytest.raises(InputError, match=re.escape(path.name)):
            other.pull(reference, source=str(share))
    assert counts(other) == before
    pulled = other.pull("team/praise:v1", "team/theirs", source=str(share))
    assert len(pulled.versions) == 2 and len(pulled.notes) == 1 and path.name in pulled.notes[0]
    assert len(other.pull(source=str(share)).notes) == 1
    assert {each.here for each in source.diff(str(share))} >= {"team/praise:v2"} and path.name in caplog.text
    # Nobody knows what else it held, so it is not replaced.
    with pytest.raises(InputError, match="Remove it, and push again"):
        source.push("team/praise:v2", to=str(share))
    assert path.read_bytes() == data
    assert path.name in source.push("team/theirs:v2", to=str(share)).notes[0]
    path.unlink()
    source.push("team/praise:v2", to=str(share))
    other.pull("team/praise:v2", source=str(share))
    assert other.fsck().faults == ()


def test_damage_behind_the_manifest_is_found_too(source: Registry, other: Registry, share: Path) -> None:
    source.push("vector:team/praise:v1", "vector:team/theirs:v1", to=str(share))
    path = bundle_of(share, "vector-team+praise-v1")
    flipped(path)
    before = counts(other)
    with pytest.raises(InputError, match="its entry members"):
        other.pull("team/praise:v1", source=str(share))
    assert counts(other) == before
    with pytest.raises(InputError, match="Remove it, and push again"):
        source.push("team/praise:v1", to=str(share))
    assert other.pull("team/theirs:v1", source=str(share)).versions[0].new


@pytest.mark.parametrize(
    ("kind", "place", "to"),
    [
        ("vector", ("tensors",), "sha256:" + "1" * 64),
        ("dataset", ("items", 0, "positive"), "(C)"),
        ("evaluation", ("scores", 0, 5), 0.5),
    ],
)
def test_a_bundle_that_lies_is_refused_as_a_mailed_one_is(
    source: Registry, other: Registry, share: Path, kind: str, place: tuple[str | int, ...], to: Any
) -> None:
    source.push("vector:team/praise:v1", to=str(share))
    (path,) = share.iterdir()
    written(path, resealed(setting(*place, to=to), kind)(entries_of(path)))
    before = counts(other)
    with pytest.raises(InputError):
        other.pull("team/praise:v1", source=str(share))
    assert counts(other) == before
    # Nor is anything of it passed on.
    source.quarantine("vector:team/praise:v1", why="it does not hold")
    data = path.read_bytes()
    with pytest.raises(InputError):
        source.push("team/praise:v1", to=str(share))
    assert path.read_bytes() == data and len(files(share)) == 1


@pytest.mark.parametrize("name", ["../etc", "Team", "a b", "x\x1b[31m"])
def test_names_that_are_none_are_damage(source: Registry, other: Registry, share: Path, name: str) -> None:
    source.bundle("dataset:team/questions:v1", path=share / "x.caa")
    written(share / "x.caa", resealed(setting("roots", 0, "key", 1, to=name), "manifest")(entries_of(share / "x.caa")))
    with pytest.raises(NotFoundError, match="none that can be read"):
        other.pull("team/questions", source=str(share))
    assert len(other.pull(source=str(share)).notes) == 1


def test_a_name_of_a_file_that_is_no_text_is_damage(source: Registry, other: Registry, share: Path) -> None:
    path = share / os.fsdecode(b"\xff.caa")
    source.bundle("dataset:team/questions:v1", path=share / "x.caa")
    (share / "x.caa").rename(path)
    before = counts(other)
    assert "not in UTF-8" in other.pull(source=str(share)).notes[0]
    with pytest.raises(InputError, match="not in UTF-8"):
        other.open_bundle(path)
    assert counts(other) == before


def test_a_key_that_was_revoked_signs_nothing_that_is_taken(
    source: Registry, other: Registry, share: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, keys = new_key(tmp_path / "ada.pem"), tmp_path / "keys.toml"
    keys.write_text(f'[[trusted]]\nname = "ada"\nkey = "{public.word}"\n')
    monkeypatch.setenv("CAA_KEYS", str(keys))
    source.push("dataset:team/dishes:v1", to=str(share))
    (path,) = share.iterdir()
    source.bundle("dataset:team/dishes:v1", path=path, key=tmp_path / "ada.pem", force=True)
    other.pull("team/dishes", source=str(share))
    source.datasets.recall(source.datasets.pairs("team/dishes:v1")[0].digest, why="it is a joke")
    source.bundle("dataset:team/dishes:v1", path=path, key=tmp_path / "ada.pem", force=True)
    keys.write_text(keys.read_text() + f'[[revoked]]\nkey = "{public.word}"\nwhy = "lost"\n')
    with pytest.raises(IntegrityError, match="revoked: lost"):
        other.pull("team/dishes", source=str(share))
    taken = other.pull(source=str(share))
    assert taken.notices == 0 and f"{path.name} was revoked: lost" in taken.notes[0]
    source.datasets.recall(source.datasets.pairs("team/dishes:v1")[1].digest, why="this too")
    with pytest.raises(IntegrityError, match="revoked: lost"):
        source.push("dataset:team/dishes:v1", to=str(share))
    keys.write_text(f'[[trusted]]\nname = "ada"\nkey = "{public.word}"\n')
    sent = source.push("dataset:team/dishes:v1", to=str(share))
    assert "is not signed any more" in sent.notes[0] and other.pull(source=str(share)).notices == 2


def test_what_is_no_bundle_is_left_alone(source: Registry, other: Registry, share: Path, tmp_path: Path) -> None:
    source.bundle("vector:team/theirs:v1", path=tmp_path / "elsewhere.caa")
    (share / "notes.txt").write_text("hello")
    (share / "._x.caa").write_text("what a Mac keeps beside a file")
    (share / "folder.caa").mkdir()
    os.mkfifo(share / "pipe.caa")
    (share / "link.caa").symlink_to(tmp_path / "elsewhere.caa")
    source.push("dataset:team/dishes:v1", to=str(share))
    assert other.pull("team/dishes", source=str(share)).notes == ()
    with pytest.raises(NotFoundError, match="no dataset or vector team/theirs"):
        other.pull("team/theirs", source=str(share))
    assert (share / "notes.txt").read_text() == "hello" and (share / "link.caa").is_symlink()
    # Not even where a bundle would have its name.
    path = share / bundle_of(share, "dataset").name
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere.caa")
    with pytest.raises(UsageError, match="is in the way"):
        source.push("dataset:team/dishes:v1", to=str(share))
    assert path.is_symlink() and (tmp_path / "elsewhere.caa").is_file()


def test_a_folder_that_is_gone_is_one_sentence_and_is_not_made(
    source: Registry, other: Registry, share: Path, tmp_path: Path
) -> None:
    source.remotes.add("share", str(share))
    shutil.rmtree(share)
    before = counts(source)
    for call in (
        lambda: source.push("team/praise:v1", to="share"),
        lambda: source.pull(source="share"),
        lambda: source.diff("share"),
        lambda: source.push("team/praise:v1", to=f"{tmp_path}/new/"),
    ):
        with pytest.raises(NotFoundError, match=r"there is no folder .*\n?.*Mount its disk"):
            call()  # type: ignore[no-untyped-call]
    assert not share.exists() and not (tmp_path / "new").exists() and counts(source) == before
    share.write_text("a file")
    with pytest.raises(UsageError, match="is not a folder"):
        source.push("team/praise:v1", to="share")
    with pytest.raises(UsageError, match="nothing was named"):
        source.push(to="share")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system that holds no bundle."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_folder_without_room_or_rights_stays_as_it_is(source: Registry, small: Path) -> None:
    before = counts(source)
    with pytest.raises(WriteError, match="the disk is full"):
        source.push("team/praise:v1", to=str(small))
    assert list(small.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    with pytest.raises(WriteError, match="read-only"):
        source.push("team/praise:v1", to=str(small))
    assert source.pull(source=str(small)).notices == 0
    assert list(small.iterdir()) == [] and counts(source) == before


def test_remotes_are_of_three_kinds(
    source: Registry, share: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remotes = source.remotes
    monkeypatch.chdir(tmp_path)
    assert remotes.add("share", "share") == remotes.add("share", f"{share}/") == caa.Remote("share", f"{share}/")
    assert remotes.add("new", "new 🙂/").kind == "folder" and (tmp_path / "new 🙂").is_dir()
    assert remotes.add("file", "file").kind == "registry" and not (tmp_path / "file").exists()
    assert remotes.add("server", "postgresql://ada@db.example.org/caa").kind == "registry"
    for url in ("hf:team/vectors", "hf:team/vectors@v1.0", f"hf:team/vectors@{'0' * 40}"):
        assert remotes.add("hub", url, replace=True) == caa.Remote("hub", url) and remotes.get(url).kind == "hub"
    kinds = {each.name: each.kind for each in remotes.ls()}
    assert kinds == {"share": "folder", "new": "folder", "file": "registry", "server": "registry", "hub": "hub"}
    shutil.rmtree(share)
    assert remotes.get("share").kind == "folder" == remotes.get("elsewhere/").kind
    # What somebody writes into the file by hand.
    text = (tmp_path / "caa-home" / "remotes.toml").read_text(encoding="utf-8")
    (tmp_path / "caa-home" / "remotes.toml").write_text(f'{text}hand = "{tmp_path}/new 🙂"\n', encoding="utf-8")
    assert remotes.get("hand") == caa.Remote("hand", f"{tmp_path}/new 🙂/")
    assert remotes.add("hand", "new 🙂") == remotes.get("hand")
    (tmp_path / "a.db").touch()
    for url, message in (
        ("a.db/", "is not a folder"),
        ("none/new/", "there is no folder"),
        ("hf:team", "is not a hub source"),
        ("hf:team/vectors/file.json", "a file of a repository"),
        ("ada:s3cret@db/", "neither a path nor a URL"),
        ("\udcff/", "not in UTF-8"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            remotes.add("wrong", url)
        assert "s3cret" not in str(caught.value)
    with pytest.raises(UsageError, match="already"):
        remotes.add("share", "unmade/")
    assert not (tmp_path / "unmade").exists() and not (tmp_path / "none").exists()


def test_a_repository_of_the_hub_is_said_to_be_one(source: Registry) -> None:
    for call in (
        lambda: source.push("team/praise:v1", to="hf:team/vectors"),
        lambda: source.diff("hf:team/vectors"),
    ):
        with pytest.raises(UsageError, match="is on the hub"):
            call()  # type: ignore[no-untyped-call]


# What is pushed from each side: a name, what is in it, and whether a pair of it is recalled.
STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["one", "two"]), st.integers(0, 2), st.booleans()),
    min_size=1,
    max_size=4,
)


@given(steps=STEPS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_pushes_both_ways_the_folder_has_the_union(
    steps: list[tuple[str, str, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("union")
    share = folder / "share"
    share.mkdir()
    for name in "abc":
        (folder / name).mkdir()
    registries = {name: caa.open(new_sqlite(folder / name), actor=name, create=False) for name in "abc"}
    recalled: set[str] = set()
    for who, name, size, recall in steps:
        registry = registries[who]
        rows = letters(3 + size, about=name)
        made = registry.datasets.import_(jsonl(folder / "rows.jsonl", rows), name=f"team/{name}")
        if recall:
            recalled.add(registry.datasets.pairs(made)[0].digest)
            registry.datasets.recall(registry.datasets.pairs(made)[0].digest, why="a joke")
        registry.push(f"dataset:{made.reference}", to=str(share))
    for who in "ab":
        if everything(registries[who]):
            registries[who].push(*everything(registries[who]), to=str(share))
    union = {(v.name, v.digest) for who in "ab" for v in all_datasets(registries[who])}
    held = [version for path in share.iterdir() for version in caa.read_bundle(path).versions]
    assert sorted(version.reference for version in held) == sorted({version.reference for version in held})
    assert {(version.reference.partition(":")[0], version.digest) for version in held} == union
    assert len(held) == len(union)
    for who in "cabc":
        registries[who].pull(*(f"dataset:{version.reference}" for version in held), source=str(share))
        registries[who].push(*everything(registries[who]), to=str(share))
    before = files(share)
    for registry in registries.values():
        registry.push(*everything(registry), to=str(share))
        assert {(v.name, v.digest) for v in all_datasets(registry)} == union
        with registry.database.read() as session:
            assert set(session.scalars(select(t.Recall.pair_digest))) == recalled
        assert registry.fsck().faults == ()
        registry.close()
    assert files(share) == before


def all_datasets(registry: Registry) -> list[Any]:
    return [registry.datasets.get(each.removeprefix("dataset:")) for each in everything(registry)]
