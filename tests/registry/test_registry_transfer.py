"""Versions go from one registry to another whole, once, and with all that they need."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from catalog.registry_fixtures import new_postgres, new_sqlite
from registry.registry_support import counts, jsonl, letters
from support.changed import change

import caa_registry as caa
from caa_registry.catalog import models as t
from caa_registry.errors import ConflictError, InputError, IntegrityError, NotFoundError, RegistryError, UsageError
from caa_registry.registry.maintenance.signing.keys import new_key
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.registry import Registry
from caa_registry.registry.transfer import sending
from caa_registry.registry.transfer.receiving import receive as receiving

if TYPE_CHECKING:
    from caa_registry.models.model import Model


@pytest.fixture
def source(tmp_path: Path, whole: Path) -> Iterator[Registry]:
    """A registry with some of everything."""
    with caa.open(str(shutil.copy(whole, tmp_path / "source.db")), actor="ada") as registry:
        yield registry


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Registry]:
    """An empty registry."""
    folder = tmp_path / "other"
    folder.mkdir()
    with caa.open(new_sqlite(folder), actor="bob", create=False) as registry:
        yield registry


@pytest.fixture
def either(url: str) -> Iterator[Registry]:
    """An empty registry, once for each dialect."""
    with caa.open(url, actor="bob", create=False) as registry:
        yield registry


def where(registry: Registry) -> str:
    """Its URL, with the password."""
    path = registry.database.path
    if path is not None:
        return str(path)
    url = registry.database._location.url
    assert url is not None
    return str(url.render_as_string(hide_password=False))


def everything(registry: Registry) -> list[str]:
    """All versions of a registry that are not deleted."""
    kinds = {"dataset": registry.datasets.ls(), "vector": registry.vectors.ls()}
    newest = [(kind, version.name, version.number) for kind, listed in kinds.items() for version in listed]
    found = []
    for kind, name, number in newest:
        for each in range(1, number + 1):
            try:
                registry.lineage(f"{kind}:{name}:v{each}")
            except NotFoundError:
                continue  # deleted
            found.append(f"{kind}:{name}:v{each}")
    return found


def test_everything_arrives_and_nothing_twice(source: Registry, either: Registry) -> None:
    """Both ways: from the file to either dialect, and back into a third registry."""
    references = everything(source)
    assert len(references) > 6
    sent = source.push(*references, to=where(either))
    assert sent.notices >= 5 and sent.notes == ()
    assert all(version.new or version.added for version in sent.versions)
    assert either.fsck().faults == () and source.fsck().faults == ()
    assert source.diff(where(either)) == [] == either.diff(where(source))
    before = counts(either)
    again = source.push(*references, to=where(either))
    assert counts(either) == before
    assert not any(version.new or version.added for version in again.versions) and again.notices == 0
    for registry in (source, either):  # the same is said of the same
        assert len(registry.evaluations.ls()) == len(source.evaluations.ls())
    theirs = {(v.reference, v.digest, v.quarantined, v.deprecated) for v in source.vectors.ls()}
    assert {(v.reference, v.digest, v.quarantined, v.deprecated) for v in either.vectors.ls()} == theirs


def test_what_was_pulled_is_as_it_was_pushed(source: Registry, either: Registry, tmp_path: Path) -> None:
    references = everything(source)
    source.push(*references, to=where(either))
    with caa.open(str(tmp_path / "third.db"), actor="eve") as third:
        pulled = third.pull(*references, source=where(either))
        assert {version.became for version in pulled.versions} == {each.partition(":")[2] for each in references}
        assert third.fsck().faults == () and third.diff(where(source)) == []
        hops = third.runs.get(1).run.environment["received"]
        assert hops[0]["from"] == "source.db" and len(hops) == 2
        scores = [(s.layer, s.multiplier, s.metric, s.value) for e in source.evaluations.ls() for s in e.scores]
        theirs = [(s.layer, s.multiplier, s.metric, s.value) for e in third.evaluations.ls() for s in e.scores]
        assert sorted(scores, key=str) == sorted(theirs, key=str)


def test_the_numbers_of_a_vector_and_its_score_are_used_as_at_home(
    source: Registry, other: Registry, model: Model
) -> None:
    source.push("vector:team/praise:best", to=where(other))
    advice = other.aliases.get("vector:team/praise:best")
    assert advice is not None and advice.recommendation is not None
    here, there = (registry.vectors.get("team/praise:best") for registry in (source, other))
    assert here.digest == there.digest
    for layer in there.layer_numbers:
        assert (source.vectors.layer(here, layer).values == other.vectors.layer(there, layer).values).all()


def test_a_number_that_is_taken_becomes_the_next_one_and_is_said(
    source: Registry, other: Registry, tmp_path: Path
) -> None:
    other.datasets.import_(jsonl(tmp_path / "own.jsonl", letters(3, about="own")), name="team/dishes")
    sent = source.push("dataset:team/dishes:v1", to=where(other))
    (version,) = sent.versions
    assert (version.reference, version.became, version.new) == ("team/dishes:v1", "team/dishes:v2", True)
    told = next(event for event in other.audit.ls() if event.action == "receive" and "dataset" in event.subject)
    assert (told.action, told.subject["dataset"], told.subject["theirs"]) == (
        "receive",
        "team/dishes:v2",
        "team/dishes:v1",
    )
    assert other.fsck().faults == ()
    found = [(each.here, each.there, each.clash) for each in source.diff(where(other)) if each.kind == "dataset"]
    assert ("team/dishes:v1", "team/dishes:v2", True) in found and ("", "team/dishes:v1", True) in found


def test_an_alias_of_somebody_else_is_left_and_said(source: Registry, other: Registry, tmp_path: Path) -> None:
    other.datasets.import_(jsonl(tmp_path / "own.jsonl", letters(3, about="own")), name="team/dishes")
    other.aliases.set("dataset:team/dishes:v1", "main")
    sent = source.push("dataset:team/dishes:main", to=where(other))
    assert len(sent.notes) == 1 and "team/dishes:main points elsewhere" in sent.notes[0]
    alias = other.aliases.get("dataset:team/dishes:main")
    assert alias is not None and alias.target == "team/dishes:v1"


def test_recalls_reach_those_who_pulled_at_their_next_pull(source: Registry, either: Registry) -> None:
    either.pull("vector:team/praise:v1", source=where(source))
    pairs = source.datasets.pairs(source.vectors.get("team/praise:v1").dataset)
    source.datasets.recall(pairs[0].digest, why="it is a joke")
    source.quarantine("vector:team/praise:v1", why="it does not hold")
    assert either.vectors.get("team/praise:v1").quarantined == ""
    assert either.pull(source=where(source)).notices == 2
    said = either.vectors.get("team/praise:v1").quarantined
    assert "it is a joke" in said and "it does not hold" in said
    assert either.pull(source=where(source)).notices == 0
    # What was decided here since counts, until something newer comes.
    either.quarantine("vector:team/praise:v1", why="", lift=True)
    assert either.pull(source=where(source)).notices == 0
    assert "it does not hold" not in either.vectors.get("team/praise:v1").quarantined
    source.quarantine("vector:team/praise:v1", why="", lift=True)
    source.quarantine("vector:team/praise:v1", why="still not")
    assert either.pull(source=where(source)).notices == 2
    assert "still not" in either.vectors.get("team/praise:v1").quarantined
    assert either.fsck().faults == ()


def test_a_signature_holds_under_another_number_too(
    source: Registry, other: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = new_key(tmp_path / "ada.pem")
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[trusted]]\nname = "ada"\nkey = "{public.word}"\n')
    monkeypatch.setenv("CAA_KEYS", str(keys))
    other.datasets.import_(jsonl(tmp_path / "own.jsonl", letters(3, about="own")), name="team/dishes")
    evaluation = next(e.id for e in source.evaluations.ls() if e.vector == "team/praise:v1")
    for reference in ("dataset:team/dishes:v1", "vector:team/praise:v1", f"evaluation:{evaluation}"):
        source.sign(reference, tmp_path / "ada.pem")
    source.push("vector:team/praise:v1", to=where(other))
    signed = [e.id for e in other.evaluations.ls() if other.verify(f"evaluation:{e.id}").signatures]
    assert len(signed) == 1
    for reference in ("dataset:team/dishes:v2", "vector:team/praise:v1", f"evaluation:{signed[0]}"):
        assert other.verify(reference, require=["ada"]).holds


def test_an_evaluation_that_was_exploratory_stays_so(source: Registry, other: Registry) -> None:
    """What had been asked before the plan is not sent where it was deleted."""
    planned = next(e for e in source.evaluations.ls() if e.standing.plan)
    assert not planned.standing.confirmatory
    first = int(planned.standing.reason.rpartition("evaluation ")[2].rstrip(")"))
    source.delete(f"evaluation:{first}")
    source.push(f"vector:{planned.vector}", to=where(other))
    there = next(e for e in other.evaluations.ls() if e.standing.plan)
    assert len(other.evaluations.ls()) == sum(e.vector == planned.vector for e in source.evaluations.ls())
    assert not there.standing.confirmatory and there.standing.reason == planned.standing.reason


def test_what_was_deleted_there_is_brought_back_and_evaluations_are_not(source: Registry, either: Registry) -> None:
    source.push("vector:team/praise:v1", "dataset:team/dishes:v2", to=where(either))
    gone = next(e.id for e in either.evaluations.ls() if e.quarantined)
    either.delete(f"evaluation:{gone}")
    either.delete("dataset:team/dishes:v2")
    either.gc(grace=timedelta(0))
    sent = source.push("vector:team/praise:v1", "dataset:team/dishes:v2", to=where(either))
    assert [(version.kind, version.new) for version in sent.versions] == [("dataset", True), ("vector", False)]
    assert either.datasets.get("team/dishes:v2").n_items == len(either.datasets.pairs("team/dishes:v2"))
    assert gone not in [e.id for e in either.evaluations.ls()]
    assert either.fsck().faults == ()


@pytest.mark.parametrize(
    ("sent", "deleted"),
    [
        ("vector:team/praise:v1", "dataset:team/dishes:v1"),
        ("vector:team/mixture:v1", "vector:team/theirs:v2"),
        ("dataset:team/dishes:main", "dataset:team/dishes:v1"),
    ],
)
def test_what_somebody_deletes_there_while_it_is_sent_is_said(
    source: Registry, either: Registry, sent: str, deleted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a version would be there without what it was made from, or an alias point at one that is deleted."""
    (there,) = source.push(deleted, to=where(either)).versions
    before = counts(either)

    def missing(*arguments: Any) -> set[Any]:
        found = real(*arguments)
        either.delete(f"{there.kind}:{there.became}")
        return found

    real = sending.missing
    with monkeypatch.context() as patch, pytest.raises(ConflictError, match="was deleted meanwhile") as caught:
        patch.setattr(sending, "missing", missing)
        source.push(sent, to=where(either))
    assert caught.value.hint.startswith("Nothing was stored")
    assert {**counts(either), "event": 0} == {**before, "event": 0} and list(either.aliases.ls()) == []
    source.push(sent, to=where(either))
    assert either.fsck().faults == () and either.lineage(f"{there.kind}:{there.became}")


@pytest.mark.parametrize("place", ["add_sayings", "check_received", "present"])
def test_a_failure_leaves_nothing_at_either_end_and_the_next_push_goes_on(
    source: Registry, either: Registry, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = ["dataset:team/dishes:v1", "vector:team/theirs:v1"]
    source.push(references[0], to=where(either))
    ours, theirs = counts(source), counts(either)

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(receiving, place, fail)
        source.push(*references, to=where(either))
    assert counts(source) == ours and {**counts(either), "blob": 0} == {**theirs, "blob": 0}
    source.push(*references, to=where(either))
    assert either.fsck().faults == () and either.vectors.get("team/theirs:v1")


def test_a_name_that_is_of_the_other_kind_is_one_sentence(source: Registry, other: Registry, tmp_path: Path) -> None:
    other.datasets.import_(jsonl(tmp_path / "q.jsonl", [{"question": "Why?"}]), name="team/dishes")
    before = counts(other)
    with pytest.raises(UsageError, match="dataset team/dishes holds questions"):
        source.push("vector:team/praise:v1", to=where(other))
    assert {**counts(other), "blob": 0} == {**before, "blob": 0}


def test_damage_at_home_is_not_sent_on(source: Registry, other: Registry) -> None:
    before, path, digest = counts(other), source.database.path, source.vectors.get("team/theirs:v1").blob
    assert path is not None
    change(path, f"UPDATE blob SET data = x'00' WHERE digest = '{digest}'")
    with pytest.raises(IntegrityError, match="damaged"):
        source.push("vector:team/theirs:v1", to=where(other))
    assert {**counts(other), "blob": 0} == {**before, "blob": 0}


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ((), "nothing was named"),
        (("evaluation:1",), "cannot be sent by itself"),
        (("team/nothing",), "there is no dataset or vector"),
        (("vector:team/praise:v99",), "has no version v99"),
        (("vector:team/praise:v1", "vector:team/praise:nowhere"), "no alias"),
    ],
)
def test_what_cannot_be_sent_is_said_before_anything_is(
    source: Registry, other: Registry, references: tuple[str, ...], message: str
) -> None:
    before = counts(other)
    with pytest.raises((UsageError, NotFoundError), match=message):
        source.push(*references, to=where(other))
    assert counts(other) == before


def test_where_nothing_can_be_sent(source: Registry, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is this registry itself"):
        source.push("dataset:team/dishes", to=where(source))
    (tmp_path / "link.db").symlink_to(tmp_path / "source.db")
    with pytest.raises(UsageError, match="is this registry itself"):
        source.push("dataset:team/dishes", to=str(tmp_path / "link.db"))
    with pytest.raises(RegistryError, match="no registry at"):
        source.push("dataset:team/dishes", to=str(tmp_path / "none.db"))
    with pytest.raises(NotFoundError, match="there is no remote nobody"):
        source.push("dataset:team/dishes", to="nobody")
    with pytest.raises(RegistryError, match="newer caa-registry"):
        newer = tmp_path / "newer"
        newer.mkdir()
        url = new_sqlite(newer)
        with caa.open(url) as opened, opened.database.write() as session:
            session.connection().exec_driver_sql("UPDATE caa_alembic_version SET version_num = '9999'")
        source.push("dataset:team/dishes", to=url)
    assert not (tmp_path / "none.db").exists()


def test_remotes_have_names_and_no_passwords(tmp_path: Path, source: Registry) -> None:
    remotes = source.remotes
    assert list(remotes.ls()) == []
    made = remotes.add("team", str(tmp_path / "team.db"))
    assert remotes.add("team", str(tmp_path / "team.db")) == made
    with pytest.raises(UsageError, match="already"):
        remotes.add("team", str(tmp_path / "other.db"))
    remotes.add("team", "postgresql://ada@db.example.org/caa", replace=True)
    assert remotes.get("team").url == "postgresql://ada@db.example.org/caa"
    for url in ("postgresql://ada:s3cret@db.example.org/caa", "postgresql://db.example.org/caa?password=s3cret"):
        with pytest.raises(UsageError, match="password") as caught:
            remotes.add("secret", url)
        assert "s3cret" not in str(caught.value)
    for name in ("", "../x", "a b", "Team", "x" * 65, "a\n"):
        with pytest.raises(UsageError, match="cannot be the name"):
            remotes.add(name, str(tmp_path / "x.db"))
    text = (tmp_path / "caa-home" / "remotes.toml").read_text()
    assert "s3cret" not in text and (tmp_path / "caa-home" / "remotes.toml").stat().st_mode & 0o077 == 0
    remotes.remove("team")
    with pytest.raises(NotFoundError, match="no remote team"):
        remotes.remove("team")
    (tmp_path / "caa-home" / "remotes.toml").write_text("team = 5\n")
    with pytest.raises(InputError, match=r"remotes\.toml"):
        remotes.ls()


def test_a_server_is_named_without_its_password(source: Registry) -> None:
    url = new_postgres()
    with caa.open(url, actor="bob", create=False) as server:
        server.pull("dataset:team/dishes:v1", source=where(source))
        name = server.database.shown
    with caa.open(str(source.database.path) + ".b", actor="eve") as third:
        third.pull("dataset:team/dishes:v1", source=url)
        assert third.runs.get(1).run.environment["received"][-1]["from"] == name


def test_what_is_damaged_at_home_keeps_no_recall_from_others(source: Registry, other: Registry) -> None:
    """caa fsck --repair quarantines what is damaged, and that cannot be named elsewhere."""
    other.pull("vector:team/praise:v1", source=where(source))
    pairs = source.datasets.pairs("team/dishes:v1")
    evaluation = next(e.id for e in source.evaluations.ls() if e.vector == "team/praise:v1" and e.kind == "propensity")
    source.datasets.recall(pairs[0].digest, why="it is a joke")
    path = source.database.path
    assert path is not None
    change(path, f"UPDATE score SET value = 0.5 WHERE evaluation_id = {evaluation} AND position = 0")
    source.repair(source.fsck())
    assert other.pull(source=where(source)).notices >= 1
    assert "it is a joke" in other.vectors.get("team/praise:v1").quarantined
    with pytest.raises(IntegrityError, match=f"evaluation {evaluation}"):
        other.pull("vector:team/praise:v1", source=where(source))


def test_text_that_a_database_cannot_hold_is_refused(source: Registry, other: Registry) -> None:
    """Whoever can write the file of a registry can write anything into it."""
    path, before = source.database.path, counts(other)
    assert path is not None
    with source.database.write() as session:
        row = t.DatasetVersion(
            dataset_id=1,
            number=3,
            digest="sha256:" + "0" * 64,
            source={"uri": "x\x00", "format": "json", "files": []},
            n_items=0,
            created_at=datetime.now(UTC),
        )
        session.add(row)
        session.flush()
        activity = Activity("import", "eve", {"deep": [[[[]]]]})
        record_run(session, activity, outputs=[("dataset", row.id)], subject={"dataset": "team/dishes:v3"})
    with pytest.raises((InputError, IntegrityError)):
        source.push("dataset:team/dishes:v3", to=where(other))
    assert counts(other) == before


def test_what_is_said_of_a_version_goes_with_it(source: Registry, either: Registry, tmp_path: Path) -> None:
    source.tags.set("vector:team/theirs:v1", {"stage": "draft", "owner": "ada"})
    source.tags.set("dataset:team/dishes:v1", {"reviewed": "no"})
    source.describe("vector:team/theirs:v1", text="Praises dishes", behavior="flattery")
    source.describe("dataset:team/dishes:v1", text="Dishes, good and bad", licence="CC0-1.0", behavior="praise-of-food")
    source.push("vector:team/theirs:v1", "dataset:team/dishes:v1", to=where(either))
    vector, dataset = either.vectors.get("team/theirs:v1"), either.datasets.get("team/dishes:v1")
    assert (vector.description, vector.behavior, vector.tags) == (
        "Praises dishes",
        "flattery",
        {"owner": "ada", "stage": "draft"},
    )
    assert (dataset.description, dataset.behavior, dataset.licence, dataset.tags) == (
        "Dishes, good and bad",
        "praise-of-food",
        "CC0-1.0",
        source.datasets.get("team/dishes:v1").tags,
    )
    assert dataset.tags["reviewed"] == "no"
    assert [hit.reference for hit in either.search("flattery")] == ["team/theirs:v1"]
    assert either.fsck().faults == ()
    # What was said here stays.
    either.describe("vector:team/theirs:v1", text="Ours")
    either.tags.set("vector:team/theirs:v1", {"stage": "final"})
    source.bundle("vector:team/theirs:v1", "vector:team/theirs:v2", path=tmp_path / "x.caa")
    either.open_bundle(tmp_path / "x.caa")
    assert either.vectors.get("team/theirs:v1").description == "Ours"
    assert either.vectors.get("team/theirs:v1").tags["stage"] == "final"
    assert either.fsck().faults == ()
