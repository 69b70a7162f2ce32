"""A bundle holds what a push would send, the same bytes each time, and one that was changed is never opened."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from catalog.registry_fixtures import new_sqlite
from hypothesis import given, settings
from hypothesis import strategies as st
from registry.registry_support import counts

import caa_registry as caa
from caa_registry.digests import digest_bytes
from caa_registry.errors import CaaError, InputError, IntegrityError, NotFoundError, UsageError
from caa_registry.registry.maintenance.signing.keys import new_key
from caa_registry.registry.records.lock_text import canonical
from caa_registry.registry.registry import Registry

Entries = list[tuple[str, bytes]]

VERSIONS = ("vector:team/praise:best", "vector:team/mixture:v1", "dataset:team/dishes:v2", "dataset:team/questions:v1")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, whole: Path) -> Path:
    """A bundle of some of everything."""
    folder = tmp_path_factory.mktemp("bundle")
    with caa.open(str(shutil.copy(whole, folder / "source.db")), actor="ada") as registry:
        registry.bundle(*VERSIONS, path=folder / "team.caa")
    return folder / "team.caa"


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Registry]:
    (tmp_path / "empty").mkdir()
    with caa.open(new_sqlite(tmp_path / "empty"), actor="bob", create=False) as registry:
        yield registry


def entries_of(path: Path) -> Entries:
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def written(path: Path, entries: Sequence[tuple[str | zipfile.ZipInfo, bytes]], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def test_a_bundle_is_the_same_bytes_each_time_and_opens_whole(
    bundle: Path, whole: Path, tmp_path: Path, empty: Registry
) -> None:
    with caa.open(str(shutil.copy(whole, tmp_path / "source.db")), actor="ada") as source:
        made = source.bundle(*reversed(VERSIONS), path=tmp_path / "again.caa")
        assert (tmp_path / "again.caa").read_bytes() == bundle.read_bytes()
        assert caa.read_bundle(bundle) == made
        assert (made.evaluations, made.plans, made.signed_by) == (len(source.evaluations.ls()), 1, "")
        opened = empty.open_bundle(bundle)
        assert [version.became for version in opened.versions] == [version.reference for version in made.versions]
        assert opened.notices == made.notices >= 4  # the recall of a pair that came with it among them
        assert empty.fsck().faults == ()
        # What a version was made from may get another number where it comes first.
        assert all(each.there for each in empty.diff(str(tmp_path / "source.db")))
    assert not any(version.new for version in empty.open_bundle(bundle).versions)
    advice = empty.aliases.get("vector:team/praise:best")
    assert advice is not None and advice.recommendation is not None


def test_a_bundle_can_be_signed(whole: Path, tmp_path: Path, empty: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, eve = (new_key(tmp_path / f"{name}.pem") for name in ("ada", "eve"))
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[trusted]]\nname = "ada"\nkey = "{ada.word}"\n')
    monkeypatch.setenv("CAA_KEYS", str(keys))
    with caa.open(str(shutil.copy(whole, tmp_path / "source.db")), actor="ada") as source:
        signed, plain = tmp_path / "signed.caa", tmp_path / "plain.caa"
        made = source.bundle("dataset:team/dishes:v1", path=signed, key=tmp_path / "ada.pem")
        source.bundle("dataset:team/dishes:v1", path=plain)
        source.bundle("dataset:team/questions:v1", path=tmp_path / "other.caa", key=tmp_path / "ada.pem")
    assert (made.signed_by, made.signer) == (ada.id, "ada")
    before = counts(empty)
    for path, require, message in (
        (plain, "ada", "is not signed"),
        (signed, eve.word, "is signed by sha256"),
    ):
        with pytest.raises(IntegrityError, match=message):
            empty.open_bundle(path, require=[require])
    swapped = written(tmp_path / "swapped.caa", [*entries_of(plain), entries_of(tmp_path / "other.caa")[-1]])
    with pytest.raises(IntegrityError, match="of something else"):
        empty.open_bundle(swapped)
    keys.write_text(keys.read_text() + f'[[revoked]]\nkey = "{ada.word}"\nwhy = "lost"\n')
    with pytest.raises(IntegrityError, match="revoked: lost"):
        empty.open_bundle(signed)
    assert counts(empty) == before
    keys.write_text(f'[[trusted]]\nname = "ada"\nkey = "{ada.word}"\n')
    assert empty.open_bundle(signed, require=["ada"]).versions[0].new


def resealed(change: Callable[[dict[str, Any]], None], kind: str) -> Callable[[Entries], Entries]:
    """A lie that is consistent: a document of ``kind`` (or the manifest) is changed, and its digests made to fit."""

    def apply(entries: Entries) -> Entries:
        manifest = json.loads(entries[0][1])
        if kind == "manifest":
            change(manifest)
            return [("manifest.json", canonical(manifest).encode()), *entries[1:]]
        member = (
            manifest["sayings"]
            if kind == "sayings"
            else next(digest for key, digest in manifest["documents"] if key[0] == kind and key[1] != "team/questions")
        )
        data = dict(entries)[f"members/{member[7:]}"]
        document = json.loads(data)
        change(document)
        new = canonical(document).encode()
        text = entries[0][1].decode().replace(member, digest_bytes(new))
        manifest = json.loads(text)
        for each in manifest["members"]:
            if each[0] == digest_bytes(new):
                each[1] = len(new)
        renamed = {f"members/{member[7:]}": (f"members/{digest_bytes(new)[7:]}", new)}
        rest = [renamed.get(name, (name, held)) for name, held in entries[1:]]
        return [("manifest.json", canonical(manifest).encode()), *rest]

    return apply


def setting(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        place: Any = values
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def unsealed(entries: Entries) -> Entries:
    """Who ran the computation is changed to another of the same length, and no digest is made to fit."""
    place = next(at for at, (_, data) in enumerate(entries) if b'"actor":"' in data and b'"tensors":' in data)
    name, data = entries[place]
    first = data.index(b'"actor":"') + len(b'"actor":"')
    return [*entries[:place], (name, data[:first] + b"~" + data[first + 1 :]), *entries[place + 1 :]]


LIES: dict[str, Callable[[Entries], Entries]] = {
    "a name that leads out": lambda entries: [*entries, ("../../evil", b"x")],
    "an absolute name": lambda entries: [*entries, ("/tmp/evil", b"x")],
    "an unknown entry": lambda entries: [*entries, ("members/readme", b"x")],
    "a member twice": lambda entries: [*entries, entries[-1]],
    "a manifest twice": lambda entries: [*entries, entries[0]],
    "a manifest that is last": lambda entries: [*entries[1:], entries[0]],
    "no manifest": lambda entries: entries[1:],
    "a member missing": lambda entries: entries[:-1],
    "members in another order": lambda entries: [entries[0], *reversed(entries[1:])],
    "a member too many": lambda entries: [*entries, (f"members/{digest_bytes(b'x')[7:]}", b"x")],
    "another member's bytes": lambda entries: [entries[0], (entries[1][0], entries[2][1]), *entries[2:]],
    "other bytes of the same length": unsealed,
    "no roots": resealed(setting("roots", to=[]), "manifest"),
    "a root that is not in it": resealed(setting("roots", 0, "key", 2, to="sha256:" + "0" * 64), "manifest"),
    "another schema": resealed(setting("schema", to="caa-registry/bundle/v9"), "manifest"),
    "a size that lies": resealed(setting("members", 0, 1, to=10_000_000_000), "manifest"),
    "a document twice": resealed(lambda m: m["documents"].append(m["documents"][0]), "manifest"),
    "documents in another order": resealed(lambda m: m["documents"].reverse(), "manifest"),
    "a manifest with more in it": resealed(setting("extra", to=1), "manifest"),
    "an alias that is none": resealed(
        setting("roots", 0, "alias", to={"name": "v3", "recommendation": None, "evaluations": {}}), "manifest"
    ),
    "another pair": resealed(setting("items", 0, "positive", to="(C)"), "dataset"),
    "a pair without a side": resealed(lambda d: d["items"][0].pop("negative"), "dataset"),
    "an item that is a number": resealed(setting("items", 0, to=5), "dataset"),
    "a licence with a NUL": resealed(setting("licence", to="MIT\x00"), "dataset"),
    "a source that is none": resealed(setting("source", to={"uri": 5}), "dataset"),
    "a name that is none": resealed(setting("key", 1, to="../etc"), "dataset"),
    "another fingerprint": resealed(setting("parts", "weights", to="sha256:" + "1" * 64), "model"),
    "a model of no layers": resealed(setting("n_layers", to=0), "model"),
    "another recipe": resealed(setting("recipe", "split", to="test"), "vector"),
    "another tensor digest": resealed(setting("tensors", to="sha256:" + "1" * 64), "vector"),
    "another place of a layer": resealed(setting("layers", 0, "offset", to=8), "vector"),
    "another norm": resealed(setting("layers", 0, "norm", to=1e30), "vector"),
    "a norm that is a text": resealed(setting("layers", 0, "norm", to="x"), "vector"),
    "a quality that is a text": resealed(setting("layers", 0, "quality", to={"auc": "x"}), "vector"),
    "a layer twice": resealed(lambda d: d["layers"].append(d["layers"][0]), "vector"),
    "numbers of another vector": resealed(setting("blob", to="sha256:" + "1" * 64), "vector"),
    "a vector of nothing": resealed(setting("recipe", to=None), "vector"),
    "a need that is missing": resealed(setting("run", "inputs", 0, 2, to="sha256:" + "1" * 64), "vector"),
    "a moment that is none": resealed(setting("created_at", to="yesterday"), "vector"),
    "a moment without a zone": resealed(setting("created_at", to="2026-01-01T00:00:00"), "vector"),
    "another score": resealed(setting("scores", 0, 5, to=0.5), "evaluation"),
    "a score that is a text": resealed(setting("scores", 0, 5, to="x"), "evaluation"),
    "a row too short": resealed(setting("scores", 0, to=[1]), "evaluation"),
    "questions of nothing": resealed(setting("dataset", to=None), "evaluation"),
    "settings of no kind": resealed(setting("parameters", to={}), "evaluation"),
    "another position": resealed(setting("positions", to="everywhere"), "evaluation"),
    "other terms": resealed(setting("terms", "split", to="generate"), "plan"),
    "a notice of nothing": resealed(setting("notices", 0, "kind", to="praise"), "sayings"),
    "a lifted that is a text": resealed(setting("notices", 0, "lifted", to="no"), "sayings"),
    "a rating of an answer that is none": resealed(setting("judgements", 0, "ratings", 0, 0, to=99), "sayings"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_bundle_that_lies_is_refused_before_anything_is_written(
    lie: str, bundle: Path, tmp_path: Path, empty: Registry, recwarn: pytest.WarningsRecorder
) -> None:
    before = counts(empty)
    path = written(tmp_path / "lie.caa", LIES[lie](entries_of(bundle)))
    outside = sorted(each.name for each in tmp_path.iterdir())
    with pytest.raises(InputError):
        empty.open_bundle(path)
    with pytest.raises(InputError):
        caa.read_bundle(path)
    assert counts(empty) == before
    assert sorted(each.name for each in tmp_path.iterdir()) == outside


def test_entries_of_other_kinds_are_refused(bundle: Path, tmp_path: Path) -> None:
    entries = entries_of(bundle)
    link = zipfile.ZipInfo("members/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    for name, path in {
        "link": written(tmp_path / "a.caa", [*entries, (link, b"/etc/passwd")]),
        "compressed": written(tmp_path / "b.caa", entries, compression=zipfile.ZIP_DEFLATED),
        "folder": written(tmp_path / "c.caa", [*entries, ("members/", b"")]),
    }.items():
        with pytest.raises(InputError, match=r"no bundle has|compressed"):
            caa.read_bundle(path)
        assert name


def test_sizes_are_capped_before_anything_is_read(bundle: Path, tmp_path: Path) -> None:
    """A central directory that claims 10 GB for a member."""
    data = bytearray(bundle.read_bytes())
    place = data.index(b"PK\x01\x02")
    place = data.index(b"PK\x01\x02", place + 4)
    data[place + 20 : place + 28] = (0xFFFFFFF0).to_bytes(4, "little") * 2
    path = tmp_path / "claims.caa"
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="claims"):
        caa.read_bundle(path)


def test_what_is_no_bundle_is_said(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no bundle"):
        caa.read_bundle(tmp_path / "none.caa")
    with pytest.raises(UsageError, match="not a regular file"):
        caa.read_bundle(tmp_path)
    for name, data in {"empty": b"", "text": b"hello" * 100, "half": b"PK\x03\x04" + b"\x00" * 99}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="it is no bundle"):
            caa.read_bundle(tmp_path / name)
    written(tmp_path / "other.zip", [("hello.txt", b"hello")])
    with pytest.raises(InputError, match=r"first entry is not manifest\.json"):
        caa.read_bundle(tmp_path / "other.zip")
    with caa.open(str(shutil.copy(whole, tmp_path / "source.db"))) as source:
        with pytest.raises(UsageError, match="exists"):
            source.bundle("dataset:team/dishes", path=tmp_path / "text")
        with pytest.raises(NotFoundError):
            source.bundle("dataset:team/none", path=tmp_path / "new.caa")
        with pytest.raises(UsageError, match="nothing was named"):
            source.bundle(path=tmp_path / "new.caa")
        assert not (tmp_path / "new.caa").exists()


@given(data=st.data())
@settings(max_examples=40)
def test_no_changed_byte_is_taken_for_what_was_written(bundle: Path, data: st.DataObject) -> None:
    """A byte that no part of the bundle covers (a time in the zip) may change; what is in it never does."""
    whole = bundle.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place] ^= data.draw(st.integers(1, 255))
    path = bundle.with_name("flipped.caa")
    path.write_bytes(bytes(flipped[: data.draw(st.one_of(st.none(), st.integers(0, len(whole))))]))
    try:
        found = caa.read_bundle(path)
    except CaaError:
        return
    assert found == caa.read_bundle(bundle)
    assert [held for _, held in entries_of(path)] == [held for _, held in entries_of(bundle)]
