"""Vectors on the hub: what one user pushes another pulls, and nothing that was changed meanwhile is taken in."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from catalog.registry_fixtures import new_sqlite
from hypothesis import given
from hypothesis import strategies as st
from registry.registry_support import counts
from support.hub_server import TOKEN, HubServer, point_client_at

import caa_registry as caa
from caa_registry.errors import (
    CaaError,
    HubError,
    InputError,
    IntegrityError,
    LicenceError,
    NotFoundError,
    UsageError,
)
from caa_registry.registry.maintenance.signing.keys import new_key
from caa_registry.registry.registry import Registry
from caa_registry.registry.transfer.hub.layout import read_sums, sums_text
from caa_registry.registry.transfer.hub.licences import permission

REPO, BEST = "hf:ada/praise", "team/praise:best"
GIVEN = {"model_licence": "apache-2.0"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        point_client_at(monkeypatch, server.url, tmp_path / "hf", TOKEN)
        yield server


@pytest.fixture
def ada(whole: Path, tmp_path: Path) -> Iterator[Registry]:
    with caa.open(str(shutil.copy(whole, tmp_path / "ada.db")), actor="ada") as registry:
        for dataset in registry.datasets.ls(all_versions=True):
            if dataset.licence != "CC-BY-4.0":
                registry.describe(f"dataset:{dataset.reference}", licence="CC-BY-4.0")
        yield registry


@pytest.fixture
def bob(tmp_path: Path) -> Iterator[Registry]:
    (tmp_path / "bob").mkdir()
    with caa.open(new_sqlite(tmp_path / "bob"), actor="bob", create=False) as registry:
        yield registry


def pushed(hub: HubServer, repo: str = "ada/praise") -> dict[str, bytes]:
    """What is in a repository now."""
    repository = hub.repositories[repo]
    return dict(repository.commits[repository.names["main"]])


def summed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """``files`` with a list of digests that fits them."""
    covered = set(read_sums(files["SHA256SUMS"], "sums"))
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name in covered}
    return {**files, "SHA256SUMS": sums_text(digests).encode()}


def test_what_one_pushes_another_pulls(ada: Registry, bob: Registry, hub: HubServer) -> None:
    published = ada.publish(BEST, "team/mixture:v1", to=REPO, **GIVEN)
    assert published.commit == hub.repositories["ada/praise"].names["main"] and not published.public
    assert hub.repositories["ada/praise"].private
    assert {file.name for file in published.files} == set(pushed(hub)) - {".gitattributes"}
    assert {file.sha256 for file in published.files} == {
        hashlib.sha256(data).hexdigest() for name, data in pushed(hub).items() if name != ".gitattributes"
    }
    run = ada.runs.ls().rows[0].run
    assert (run.kind, run.parameters["commit"]) == ("push", published.commit)
    assert {each.there for each in bob.diff(REPO)} == {"team/praise:v1", "team/mixture:v1"}
    taken = bob.pull(source=f"{REPO}@{published.commit}")
    assert bob.diff(REPO) == []
    assert [version.new for version in taken.versions] == [True, True] and bob.fsck().faults == ()
    for reference in (BEST, "team/mixture:v1"):
        assert bob.vectors.get(f"vector:{reference}").digest == ada.vectors.get(f"vector:{reference}").digest
    advice = bob.aliases.get(f"vector:{BEST}")
    assert advice is not None and advice.recommendation is not None
    assert len(bob.evaluations.ls()) == len(ada.evaluations.ls(f"vector:{BEST}")) > 0
    before = counts(bob)
    again = bob.pull("team/praise", source=REPO)
    assert not any(version.new for version in again.versions) and counts(bob) == before
    with pytest.raises(NotFoundError, match=r"does not hold team/other\nIt holds team/praise:v1, "):
        bob.pull("team/other", source=REPO)


def test_the_card_says_what_a_stranger_asks(ada: Registry, hub: HubServer, tmp_path: Path) -> None:
    ada.publish(BEST, to=REPO, **GIVEN)
    files = pushed(hub)
    card = files["README.md"].decode()
    assert card == files["card.md"].decode()
    version = ada.vectors.get(f"vector:{BEST}")
    for said in (
        "license: cc-by-4.0",
        "- activation-steering\n",
        f"# {version.reference}",
        "A steering vector for the behavior",
        version.digest,
        version.known_model().fingerprint.digest,
        "`team/praise:best` recommends layer ",
        f"caa pull {REPO}",
        "caa generate --vector team/praise:best",
        "Without `caa`",
        "## Use and limits",
        "| model | ",
        "apache-2.0",
        "sha256sum -c SHA256SUMS",
    ):
        assert said in card, said
    # Nothing says where it was on the machine of whom it comes from.
    for name, data in files.items():
        assert str(tmp_path).encode() not in data and str(Path.home()).encode() + b"/" not in data, name
    lines = files["SHA256SUMS"].decode().splitlines()
    assert {line.split("  ")[1] for line in lines} == set(files) - {"README.md", "SHA256SUMS", ".gitattributes"}
    dataset = ada.datasets.get(version.known_dataset())
    rows = [line for name, data in files.items() if name.startswith("pairs/") for line in data.splitlines()]
    assert len(rows) == dataset.n_items


def test_one_changed_byte_is_refused_and_named(ada: Registry, bob: Registry, hub: HubServer) -> None:
    ada.publish(BEST, to=REPO, **GIVEN)
    files, before = pushed(hub), counts(bob)
    covered = sorted(read_sums(files["SHA256SUMS"], "sums"))
    assert {"bundle.caa", "card.md"} < set(covered) and len(covered) >= 5
    for name in covered:
        for place in (0, len(files[name]) // 2, len(files[name]) - 1):
            changed = bytearray(files[name])
            changed[place] ^= 1
            hub.commit("ada/praise", {**files, name: bytes(changed)})
            with pytest.raises(IntegrityError, match=f"{name} is not the file that SHA256SUMS names"):
                bob.pull(source=REPO)
        hub.commit("ada/praise", {each: data for each, data in files.items() if each != name})
        with pytest.raises(IntegrityError, match=f"{name} is missing"):
            bob.pull(source=REPO)
    assert counts(bob) == before
    hub.commit("ada/praise", files)
    assert bob.pull(source=REPO).versions[0].new


def test_files_that_do_not_belong_together_are_refused(ada: Registry, bob: Registry, hub: HubServer) -> None:
    """Also where somebody made the list of digests fit."""
    ada.publish("team/mixture:v1", to="hf:ada/other", **GIVEN)
    ada.publish(BEST, to=REPO, **GIVEN)
    files, before = pushed(hub), counts(bob)
    name = "vectors/team/praise-v1.safetensors"
    other = pushed(hub, "ada/other")["vectors/team/mixture-v1.safetensors"]
    hub.commit("ada/praise", summed({**files, name: other}))
    with pytest.raises(IntegrityError, match=f"{name} and bundle.caa hold different vectors"):
        bob.pull(source=REPO)
    flipped = bytearray(files[name])
    flipped[-1] ^= 1
    hub.commit("ada/praise", summed({**files, name: bytes(flipped)}))
    with pytest.raises(CaaError, match=r"praise-v1\.safetensors"):
        bob.pull(source=REPO)
    changed = files["bundle.caa"].replace(b"ada", b"eve")
    hub.commit("ada/praise", summed({**files, "bundle.caa": changed}))
    with pytest.raises(InputError, match="bundle"):
        bob.pull(source=REPO)
    without = {each: data for each, data in files.items() if each != "bundle.caa"}
    hub.commit("ada/praise", {**without, "SHA256SUMS": sums_text({"card.md": digest(files["card.md"])}).encode()})
    with pytest.raises(InputError, match=r"holds neither bundle.caa nor vectors.json"):
        bob.pull(source=REPO)
    assert counts(bob) == before


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_signature_can_be_required(ada: Registry, bob: Registry, hub: HubServer, tmp_path: Path) -> None:
    key, other = (new_key(tmp_path / f"{name}.pem") for name in ("ada", "eve"))
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[trusted]]\nname = "ada"\nkey = "{key.word}"\n', encoding="utf-8")
    ada.publish(BEST, to=REPO, **GIVEN)
    with pytest.raises(IntegrityError, match="is not signed, and a signature of ada is required"):
        bob.pull(source=REPO, require=["ada"], keys=keys)
    published = ada.publish(BEST, to=REPO, key=tmp_path / "ada.pem", **GIVEN)
    assert published.signed_by == key.id
    with pytest.raises(IntegrityError, match="and a signature of ed25519:"):
        bob.pull(source=REPO, require=[other.word], keys=keys)
    files = pushed(hub)
    # The whole of another repository, with a list of digests that fits and the signature of this one.
    ada.publish("team/mixture:v1", to="hf:ada/other", **GIVEN)
    envelope = {"SHA256SUMS.dsse.json": files["SHA256SUMS.dsse.json"]}
    hub.commit("ada/praise", {**pushed(hub, "ada/other"), **envelope})
    with pytest.raises(IntegrityError, match="is of something else"):
        bob.pull(source=REPO, require=["ada"], keys=keys)
    broken = json.loads(files["SHA256SUMS.dsse.json"])
    broken["signatures"][0]["sig"] = "AAAA"
    for envelope in (b"", b"[]", b"{}", json.dumps(broken).encode()):
        hub.commit("ada/praise", {**files, "SHA256SUMS.dsse.json": envelope})
        with pytest.raises(CaaError, match="signature"):
            bob.pull(source=REPO, require=["ada"], keys=keys)
    hub.commit("ada/praise", files)
    keys.write_text(f'[[revoked]]\nkey = "{key.word}"\nwhy = "the laptop was stolen"\n', encoding="utf-8")
    with pytest.raises(IntegrityError, match="was revoked: the laptop was stolen"):
        bob.pull(source=REPO, keys=keys)
    assert bob.vectors.ls().total == 0
    keys.write_text(f'[[trusted]]\nname = "ada"\nkey = "{key.word}"\n', encoding="utf-8")
    taken = bob.pull(source=REPO, require=["ada"], keys=keys)
    assert taken.versions[0].new and any("signed by ada" in note for note in taken.notes)
    with pytest.raises(UsageError, match="caa verify"):
        bob.pull(source=str(tmp_path / "ada.db"), require=["ada"], keys=keys)


def test_a_card_that_was_changed_is_told(ada: Registry, bob: Registry, hub: HubServer) -> None:
    ada.publish(BEST, to=REPO, **GIVEN)
    files = pushed(hub)
    card = files["README.md"].decode()
    hub.commit("ada/praise", {**files, "README.md": card.replace("## Licences", "## Licences \x1b[31m here").encode()})
    notes = bob.pull(source=REPO).notes
    line = card.splitlines().index("## Licences") + 1
    assert any(
        f"changed after it was pushed, in one place; line {line} is now: ## Licences \\x1b[31m here" in note
        for note in notes
    )
    hub.commit("ada/praise", {name: data for name, data in files.items() if name != "README.md"} | {"x/y.bin": b"!"})
    notes = bob.pull(source=REPO).notes
    assert any("was taken away" in note for note in notes) and any("does not name x/y.bin" in note for note in notes)


def test_pairs_that_a_licence_keeps_back_are_nowhere(ada: Registry, bob: Registry, hub: HubServer) -> None:
    version = ada.vectors.get(f"vector:{BEST}")
    dataset = ada.datasets.get(version.known_dataset())
    ada.describe(f"dataset:{dataset.reference}", licence="Proprietary, all rights reserved")
    published = ada.publish(BEST, to=REPO, **GIVEN)
    assert published.withheld == {dataset.reference: "Proprietary, all rights reserved"} and not published.pairs
    assert published.actors == ()
    files = pushed(hub)
    assert set(files) == {
        ".gitattributes",
        "README.md",
        "card.md",
        "SHA256SUMS",
        "vectors.json",
        "vectors/team/praise-v1.safetensors",
    }
    for text in {text for pair in ada.datasets.pairs(dataset) for text in (pair.pair.prompt, pair.pair.positive)}:
        for name, data in files.items():
            assert text.encode() not in data and json.dumps(text)[1:-1].encode() not in data, name
    card = files["README.md"].decode()
    assert dataset.digest.removeprefix("sha256:")[:12] in card and "The pairs and the questions are not here" in card
    # What it says to do works without what stays behind.
    assert BEST not in card.partition("## Apply it")[2].partition("```sh")[2] and "--recompute" not in card
    assert "caa generate --vector team/praise --layer " in card
    taken = bob.pull(source=REPO)
    assert taken.versions[0].new and "kept back" in " ".join(taken.notes)
    here = bob.vectors.get("vector:team/praise")
    assert here.tensor_digest == version.tensor_digest and here.known_model() == replaced(version)
    assert here.behavior == version.behavior and bob.fsck().faults == ()
    assert not bob.pull(source=REPO).versions[0].new
    with pytest.raises(UsageError, match="does not let its pairs be public"):
        ada.publish(BEST, to=REPO, public=True, pairs=True, **GIVEN)
    for change in ({"digest": "sha256:" + "0" * 64}, {"number": 7}, {"model": None}, {"name": "../x"}):
        values = json.loads(files["vectors.json"])
        values["vectors"][0].update(change)
        hub.commit("ada/praise", summed({**files, "vectors.json": json.dumps(values).encode()}))
        with pytest.raises((IntegrityError, InputError)):
            bob.pull(source=REPO)
    assert bob.vectors.ls(all_versions=True).total == 1


def replaced(version: caa.VectorVersion) -> caa.ModelInfo:
    """The model of a version as it is known where its folder is not."""
    import dataclasses

    return dataclasses.replace(version.known_model(), path=None, adapter_path=None)


def test_licences_that_are_not_known_are_asked_for(ada: Registry, hub: HubServer) -> None:
    version = ada.vectors.get(f"vector:{BEST}")
    reference = f"dataset:{version.known_dataset()}"
    ada.describe(reference, licence="")
    with pytest.raises(LicenceError, match=f"the licence of {version.dataset} is not known") as error:
        ada.publish(BEST, to=REPO, model_licence="mit")
    assert error.value.of == "pairs"
    with pytest.raises(UsageError, match="it is not known whether the licence of"):
        ada.publish(BEST, to=REPO, licence="Team licence 3", model_licence="mit")
    assert hub.requests == []
    assert ada.publish(BEST, to=REPO, licence="Team licence 3", model_licence="mit", pairs=True, dry_run=True).pairs
    assert ada.publish(BEST, to=REPO, model_licence="mit", pairs=True, dry_run=True).pairs  # for a few eyes
    assert not ada.publish(BEST, to=REPO, model_licence="mit", pairs=False, dry_run=True).pairs
    with pytest.raises(LicenceError):
        ada.publish(BEST, to=REPO, model_licence="mit", pairs=True, public=True, dry_run=True)
    ada.describe(reference, licence="MIT")
    with pytest.raises(UsageError, match="the licences of all pairs are known"):
        ada.publish(BEST, to=REPO, licence="MIT", model_licence="mit")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", "open"),
        ("cc-by-nc-4.0", "open"),
        ("CC BY-SA 4.0", "open"),
        ("Apache License 2.0", "open"),
        ("LGPL-3.0", "open"),
        ("Proprietary", "closed"),
        ("© Acme. All rights reserved.", "closed"),
        ("MIT, but no redistribution", "closed"),
        ("Do not distribute", "closed"),
        ("internal", "closed"),
        ("Acme terms 2", "unknown"),
        ("submit", "unknown"),
        ("", "unknown"),
    ],
)
def test_what_the_name_of_a_licence_tells(licence: str, allowed: str) -> None:
    assert permission(licence) == allowed


def test_a_repository_is_not_taken_from_anybody(ada: Registry, hub: HubServer) -> None:
    hub.commit("ada/praise", {".gitattributes": b"", "model.safetensors": b"weights", "README.md": b"mine"})
    with pytest.raises(UsageError, match=r"holds something else, such as model.safetensors"):
        ada.publish(BEST, to=REPO, public=True, **GIVEN)
    hub.commit("ada/praise", {".gitattributes": b"", "README.md": b"made on the page of the hub"})
    with pytest.raises(UsageError, match="is public, and everybody would see"):
        ada.publish(BEST, to=REPO, **GIVEN)
    before = len(hub.repositories["ada/praise"].commits)
    assert before == 2 and not any(each.run.kind == "push" for each in ada.runs.ls())
    first = ada.publish(BEST, "team/mixture:v1", to=REPO, public=True, **GIVEN)
    second = ada.publish(BEST, to=REPO, public=True, **GIVEN)
    gone = {file.name for file in first.files} - {file.name for file in second.files}
    assert "vectors/team/mixture-v1.safetensors" in gone and not gone & set(pushed(hub))
    branch = ada.publish("team/mixture:v1", to=f"{REPO}@draft/one", public=True, **GIVEN)
    names = hub.repositories["ada/praise"].names
    assert (names["main"], names["draft/one"]) == (second.commit, branch.commit)


def test_a_push_that_fails_changes_nothing(ada: Registry, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ada.publish(BEST, to=REPO, **GIVEN)
    names, before = dict(hub.repositories["ada/praise"].names), counts(ada)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client tries again after longer and longer pauses
    for failing, breaking in ((503, None), (401, None), (None, 1)):
        hub.failing, hub.breaking = failing, breaking
        with pytest.raises(HubError, match="hf:ada/praise"):
            ada.publish("team/mixture:v1", to=REPO, **GIVEN)
        hub.failing = hub.breaking = None
    assert hub.repositories["ada/praise"].names == names and counts(ada) == before
    with pytest.raises(UsageError, match="caa dataset push team/dishes"):
        ada.publish("team/dishes", to=REPO, **GIVEN)
    with pytest.raises(UsageError, match="not a place on the hub"):
        ada.publish(BEST, to=":memory:x", **GIVEN)
    requests = len(hub.requests)
    shown = ada.publish(BEST, to=REPO, dry_run=True, **GIVEN)
    assert shown.commit == "" and len(hub.requests) == requests and counts(ada) == before


def test_private_and_gated_repositories(
    ada: Registry, bob: Registry, hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ada.publish(BEST, to=REPO, **GIVEN)
    point_client_at(monkeypatch, hub.url, tmp_path / "stranger")
    with pytest.raises(HubError, match="no such model on the hub, or it is private"):
        bob.pull(source=REPO)
    hub.repository("ada/praise", private=False, gated=True)
    with pytest.raises(HubError, match="access to the model has to be granted first"):
        bob.pull(source=REPO)
    hub.repository("ada/praise", gated=False)
    hub.breaking = 100
    with pytest.raises(HubError):
        bob.pull(source=REPO)
    hub.breaking = None
    assert bob.vectors.ls().total == 0
    assert bob.pull(source=REPO).versions[0].new
    with pytest.raises(NotFoundError, match="holds no SHA256SUMS"):
        hub.commit("ada/plain", {"a.bin": b"1"})
        bob.pull(source="hf:ada/plain")


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_a_list_of_digests_from_anybody(data: bytes) -> None:
    try:
        digests = read_sums(data, "sums")
    except InputError:
        return
    assert all(not name.startswith("/") and ".." not in name.split("/") for name in digests)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "a//b", "a/./b", "a\\b", "x" * 401, "a\x1bb"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="line 2"):
        read_sums(f"{'0' * 64}  a\n{'1' * 64}  {name}\n".encode(), "sums")
    with pytest.raises(InputError, match="line 2 names a again"):
        read_sums(f"{'0' * 64}  a\n{'1' * 64}  a\n".encode(), "sums")
