"""What is deleted is not found and can be brought back, and gc removes only what nothing needs."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from registry.registry_support import jsonl, letters
from sqlalchemy import func, select, text, update

import caa_registry as caa
from caa_registry.catalog import models as t
from caa_registry.errors import CaaError, NotFoundError, RegistryError, UsageError
from caa_registry.registry.records import PlanSettings, Recommendation
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from caa_registry.models.model import Model

NOW = timedelta(0)


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    with caa.open(url, actor="ada") as opened:
        yield opened


@pytest.fixture
def filled(registry: Registry, model: Model, tmp_path: Path) -> Registry:
    """Two versions of a dataset that share pairs, a vector of the second, and an evaluation of it."""
    for version in (1, 2):
        sources = {
            name: jsonl(tmp_path / f"{name}{version}.jsonl", letters(3 + version, about=name))
            for name in ("generate", "test")
        }
        pairs = registry.datasets.import_(sources, name="team/pairs")
    vector = registry.vectors.compute("team/vector", dataset=pairs, model=model)
    registry.evaluations.propensity(
        vector, dataset=pairs, split="test", model=model, layers=[1], multipliers=[-1, 0, 1]
    )
    return registry


def test_what_is_needed_is_not_deleted_and_the_message_names_why(filled: Registry) -> None:
    filled.aliases.set("team/vector", "best")
    with pytest.raises(
        UsageError, match="vector:team/vector:v1 is needed by alias vector:team/vector:best, evaluation:1"
    ) as caught:
        filled.delete("team/vector")
    assert "caa alias rm vector:team/vector:best; caa delete evaluation:1" in caught.value.hint
    with pytest.raises(UsageError, match="dataset:team/pairs:v2 is needed by evaluation:1, vector:team/vector:v1"):
        filled.delete("team/pairs:v2")
    before = len(filled.audit.ls())
    assert filled.fsck().faults == () and len(filled.audit.ls()) == before
    filled.aliases.remove("team/vector:best")
    assert [filled.delete(name) for name in ("evaluation:1", "team/vector:v1", "team/pairs:v2")] == [
        "evaluation:1",
        "vector:team/vector:v1",
        "dataset:team/pairs:v2",
    ]
    assert filled.fsck().faults == ()


def test_a_dataset_and_a_vector_of_one_name_are_told_apart(filled: Registry, model: Model) -> None:
    """What a message says to type can be typed."""
    filled.vectors.compute("team/pairs", dataset="team/pairs:v1", model=model)
    with pytest.raises(UsageError, match="dataset:team/pairs:v1 is needed by vector:team/pairs:v1") as caught:
        filled.delete("dataset:team/pairs:v1")
    assert filled.delete(caught.value.hint.removeprefix("First: caa delete ")) == "vector:team/pairs:v1"
    with pytest.raises(NotFoundError) as gone:
        filled.vectors.get("vector:team/pairs:v1")
    assert filled.undelete(gone.value.hint.split()[-1]) == "vector:team/pairs:v1"


def test_what_a_calibration_recommends_by_is_not_deleted(filled: Registry, model: Model) -> None:
    evidence = {"propensity": 1, "side_effects": 7, "extended": [8], "answers": [9]}
    advice = Recommendation((1,), 1.0, evidence=evidence)
    assert advice.evaluations == (1, 7, 8, 9) and Recommendation((1,)).evaluations == ()
    filled.aliases.set("team/vector", "best", advice)
    with pytest.raises(UsageError, match="evaluation:1 is needed by alias vector:team/vector:best"):
        filled.delete("evaluation:1")


def test_a_plan_that_was_not_run_needs_what_it_names(filled: Registry, model: Model) -> None:
    filled.delete("evaluation:1")
    filled.plans.make(
        "team/plan", "team/vector", model=model, split="test", layers=[1], settings=PlanSettings(draws=19)
    )
    with pytest.raises(UsageError, match="team/vector:v1 is needed by plan:team/plan"):
        filled.delete("team/vector")
    filled.plans.run("team/plan", model=model)
    with pytest.raises(UsageError, match="team/vector:v1 is needed by evaluation:2\n"):
        filled.delete("team/vector")


def test_what_was_deleted_is_not_found_and_comes_back_as_it_was(filled: Registry) -> None:
    vector, evaluation = filled.vectors.get("team/vector"), filled.evaluations.get(1)
    filled.delete("evaluation:1", why="wrong split")
    filled.delete("team/vector")
    assert filled.audit.ls()[1].subject == {"evaluation": 1, "why": "wrong split"}
    assert list(filled.vectors.ls()) == [] and list(filled.evaluations.ls()) == []
    for name in ("team/vector", "team/vector:v1", f"team/vector@{vector.digest}"):
        with pytest.raises(NotFoundError):
            filled.vectors.get(name)
    with pytest.raises(NotFoundError):
        filled.evaluations.get(1)
    for name in ("team/vector:v2", "evaluation:1", "team/pairs"):
        if name != "evaluation:1":
            with pytest.raises(NotFoundError, match="nothing that was deleted"):
                filled.undelete(name)
    with pytest.raises(
        UsageError, match="evaluation:1 was made from vector:team/vector:v1, which is deleted"
    ) as caught:
        filled.undelete("evaluation:1")
    assert caught.value.hint == "First: caa undelete vector:team/vector:v1"
    assert [filled.undelete("team/vector"), filled.undelete("evaluation:1")] == [
        "vector:team/vector:v1",
        "evaluation:1",
    ]
    assert filled.vectors.get("team/vector") == vector and filled.evaluations.get(1) == evaluation
    assert filled.fsck().faults == ()


def test_gc_removes_what_nothing_needs_after_its_time(filled: Registry) -> None:
    for name in ("evaluation:1", "team/vector", "team/pairs:v2"):
        filled.delete(name)
    orphan = filled.blobs.put(b"left behind")
    assert filled.gc().blobs == 0  # all of it is younger than thirty days
    told = filled.gc(grace=NOW, dry_run=True)
    assert told.versions == ("dataset:team/pairs:v2", "vector:team/vector:v1") and told.evaluations == (1,)
    # The first version shares eight pairs with the second, which has ten.
    assert (told.pairs, told.blobs) == (2, 3) and told.bytes > 100 and orphan in filled.blobs
    assert filled.fsck().damage == ()
    assert filled.gc(grace=NOW) == told
    assert filled.gc(grace=NOW).blobs == 0
    assert orphan not in filled.blobs and filled.fsck().faults == ()
    assert len(filled.datasets.pairs("team/pairs:v1")) == 8
    for name in ("team/pairs:v2", "team/vector", "evaluation:1"):
        with pytest.raises(UsageError, match=r"deleted|removed by caa gc"):
            filled.undelete(name)
    assert filled.fsck().faults == ()


def test_the_same_again_is_the_version_that_was_deleted(filled: Registry, model: Model, tmp_path: Path) -> None:
    sources = {name: str(tmp_path / f"{name}2.jsonl") for name in ("generate", "test")}
    vector = filled.vectors.get("team/vector")
    for collected in (False, True):
        for name in (
            ("evaluation:1", "team/vector", "team/pairs:v2") if not collected else ("team/vector", "team/pairs:v2")
        ):
            filled.delete(name)
        if collected:
            assert filled.gc(grace=NOW).pairs == 2
        assert filled.datasets.import_(sources, name="team/pairs").reference == "team/pairs:v2"
        assert len(filled.datasets.pairs("team/pairs:v2")) == 10
        again = filled.vectors.compute("team/vector", dataset="team/pairs:v2", model=model)
        assert (again.reference, again.digest) == (vector.reference, vector.digest)
        assert filled.vectors.load("team/vector").tensor_digest == vector.tensor_digest
        assert filled.fsck().damage == ()


def test_bytes_that_another_version_has_stay(filled: Registry, model: Model) -> None:
    """Two names with the same numbers share their bytes."""
    filled.vectors.compute("team/twin", dataset="team/pairs:v2", model=model)
    with filled.database.read() as session:
        blobs = set(session.scalars(select(t.VectorVersion.blob_digest)))
    filled.delete("team/twin")
    filled.gc(grace=NOW)
    assert len(blobs) == 1 and filled.vectors.load("team/vector").layers
    assert filled.fsck().faults == ()


def test_a_writer_that_uses_stored_bytes_again_never_loses_them(filled: Registry, model: Model) -> None:
    """gc between the storing of bytes and of the row that refers to them: with a grace period they are young again, and
    without one nothing is written."""
    filled.delete("evaluation:1")
    filled.delete("team/vector")
    put = filled.blobs.put

    def put_and_collect(grace: timedelta) -> None:
        def stored(data: bytes) -> str:
            digest = put(data)
            collector = threading.Thread(target=lambda: filled.gc(grace=grace))
            collector.start()
            collector.join()
            return digest

        filled.blobs.put = stored  # type: ignore[method-assign]

    long_ago(filled)
    put_and_collect(timedelta(hours=1))
    assert filled.vectors.compute("team/vector", dataset="team/pairs:v2", model=model).reference == "team/vector:v1"
    assert filled.vectors.load("team/vector").layers and filled.fsck().faults == ()
    filled.blobs.put = put  # type: ignore[method-assign]
    filled.delete("team/vector")
    put_and_collect(NOW)
    with pytest.raises(RegistryError, match="removed bytes that were just stored"):
        filled.vectors.compute("team/vector", dataset="team/pairs:v2", model=model)
    filled.blobs.put = put  # type: ignore[method-assign]
    assert filled.fsck().faults == () and list(filled.vectors.ls()) == []
    filled.vectors.compute("team/vector", dataset="team/pairs:v2", model=model)
    assert filled.fsck().faults == ()


def long_ago(registry: Registry) -> None:
    """Have all that is deleted be deleted, and all bytes be stored, long ago."""
    then = datetime(2020, 1, 1, tzinfo=UTC)
    with registry.database.write() as session:
        for table in (t.VectorVersion, t.Evaluation):
            session.execute(update(table).where(table.deleted_at.is_not(None)).values(deleted_at=then))
        session.execute(update(t.Blob).values(stored_at=then))


def test_what_was_deleted_while_something_was_made_of_it_is_not_used(
    filled: Registry, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = filled.blobs.put

    def delete_first(data: bytes) -> str:
        monkeypatch.setattr(filled.blobs, "put", put)
        filled.delete("team/pairs:v1")
        return put(data)

    monkeypatch.setattr(filled.blobs, "put", delete_first)
    with pytest.raises(UsageError, match="a dataset that this was made from was deleted meanwhile"):
        filled.vectors.compute("team/other", dataset="team/pairs:v1", model=model)
    assert filled.fsck().damage == () and [v.reference for v in filled.vectors.ls()] == ["team/vector:v1"]
    with filled.database.write() as session:
        session.execute(update(t.DatasetVersion).values(deleted_at=func.now()))
    things = {fault.thing: fault.problem for fault in filled.fsck().faults if fault.check == "references"}
    assert things == dict.fromkeys(("vector version 1", "evaluation 1"), "it was made from what is deleted")


def test_the_same_numbers_of_a_dataset_that_is_deleted_are_not_brought_back(
    filled: Registry, model: Model, tmp_path: Path
) -> None:
    for name in ("evaluation:1", "team/vector", "team/pairs:v2"):
        filled.delete(name)
    with pytest.raises(NotFoundError) as caught:
        filled.datasets.get("team/pairs:v2")
    assert caught.value.hint == "v2 was deleted. To bring it back: caa undelete dataset:team/pairs:v2"
    sources = {name: str(tmp_path / f"{name}2.jsonl") for name in ("generate", "test")}
    filled.datasets.import_(sources, name="team/twin")
    with pytest.raises(UsageError, match="was made from dataset:team/pairs:v2, which is deleted too"):
        filled.vectors.compute("team/vector", dataset="team/twin", model=model)
    filled.undelete("team/pairs:v2")
    assert filled.vectors.compute("team/vector", dataset="team/twin", model=model).reference == "team/vector:v1"
    assert filled.fsck().damage == ()


def test_the_same_numbers_made_of_vectors_that_are_deleted_are_not_brought_back(filled: Registry) -> None:
    filled.vectors.combine("team/twin", ["team/vector:v1"], behavior="mixed")
    filled.vectors.combine("team/twin-too", ["team/vector:v1"], behavior="mixed")
    made = filled.vectors.combine("team/sum", [("team/twin", 2.0)])
    for name in ("team/sum", "team/twin"):
        filled.delete(name)
    with pytest.raises(UsageError, match="was made from vector:team/twin:v1, which is deleted too") as caught:
        filled.vectors.combine("team/sum", [("team/twin-too", 2.0)])
    assert caught.value.hint.startswith("First: caa undelete vector:team/twin:v1")
    filled.undelete("team/twin")
    again = filled.vectors.combine("team/sum", [("team/twin-too", 2.0)])
    assert (again.reference, again.digest) == (made.reference, made.digest)
    assert filled.fsck().damage == ()


def test_a_model_that_moved_makes_the_same_bytes(filled: Registry, model: Model, tmp_path: Path) -> None:
    """Its folder has another name, and the bytes of a vector hold the name of its model."""
    assert model.info.path is not None
    moved = filled.models.load(shutil.copytree(model.info.path, tmp_path / "elsewhere"))
    assert moved.info.name != model.info.name
    filled.delete("evaluation:1")
    filled.delete("team/vector")
    filled.gc(grace=NOW)
    assert filled.vectors.compute("team/vector", dataset="team/pairs:v2", model=moved).reference == "team/vector:v1"
    assert filled.vectors.load("team/vector").layers and filled.fsck().faults == ()


def test_checking_sees_one_moment_though_others_delete_and_store(filled: Registry, model: Model) -> None:
    filled.delete("evaluation:1")
    filled.delete("team/vector")
    begun: list[int] = []

    def meanwhile(done: int, total: int) -> None:
        if not begun:
            begun.append(done)
            filled.gc(grace=NOW)
            filled.blobs.put(b"of a writer that goes on")

    assert filled.fsck(progress=meanwhile).faults == () and begun


def test_two_that_collect_at_once_remove_it_once(filled: Registry) -> None:
    for name in ("evaluation:1", "team/vector", "team/pairs:v2"):
        filled.delete(name)
    found: list[int] = []

    def collect() -> None:
        found.append(filled.gc(grace=NOW).blobs)

    threads = [threading.Thread(target=collect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and sum(found) == 2
    assert filled.fsck().faults == ()


def test_pairs_that_a_review_names_stay(filled: Registry) -> None:
    for name in ("evaluation:1", "team/vector"):
        filled.delete(name)
    of = filled.datasets.pairs("team/pairs:v2")
    lonely = {item.digest for item in of} - {item.digest for item in filled.datasets.pairs("team/pairs:v1")}
    filled.datasets.review("team/pairs:v2", [(min(lonely), "accepted", "")])
    filled.delete("team/pairs:v2")
    assert filled.gc(grace=NOW).pairs == 1
    with filled.database.read() as session:
        assert session.scalar(select(func.count()).select_from(t.Pair)) == 9
    assert filled.fsck().faults == ()


def test_a_mark_that_no_event_tells_of_is_found(filled: Registry) -> None:
    with filled.database.write() as session:
        session.execute(text("UPDATE evaluation SET deleted_at = created_at"))
    (fault,) = filled.fsck().faults
    assert (fault.thing, fault.problem) == ("evaluation 1", "its deletion is in no event")


@pytest.mark.parametrize(
    "reference", ["team/none", "evaluation:99", "evaluation:0", "team/vector:v9", "model:demo", ""]
)
def test_what_is_not_there_is_not_deleted(filled: Registry, reference: str) -> None:
    for verb in (filled.delete, filled.undelete):
        with pytest.raises(CaaError):
            verb(reference)
    with pytest.raises(UsageError, match="negative"):
        filled.gc(grace=timedelta(days=-1))
    assert filled.fsck().faults == ()


def test_who_uses_what_is_deprecated_is_told_what_to_use_instead(
    filled: Registry, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    filled.vectors.compute("team/vector", dataset="team/pairs:v1", model=model)
    assert filled.deprecate("team/vector:v1", why="wrong labels", successor="team/vector") == "team/vector:v1"
    assert filled.deprecate("dataset:team/pairs:v2", why="too few") == "team/pairs:v2"
    caplog.clear()
    assert filled.vectors.get("team/vector:v1").deprecated == "wrong labels (use team/vector:v2)"
    assert caplog.messages == ["team/vector:v1 is deprecated: wrong labels (use team/vector:v2)"]
    caplog.clear()
    with filled.steer(model, "team/vector:v1", layer=1):
        pass
    filled.datasets.get("team/pairs")
    assert caplog.messages == [
        "team/vector:v1 is deprecated: wrong labels (use team/vector:v2)",
        "team/pairs:v2 is deprecated: too few",
    ]
    assert [v.deprecated for v in filled.vectors.ls(all_versions=True)] == ["wrong labels (use team/vector:v2)", ""]
    assert [d.deprecated for d in filled.datasets.ls()] == ["too few"]
    assert "**Deprecated**: wrong labels (use team/vector:v2)." in filled.reports.card("team/vector:v1")
    with pytest.raises(UsageError, match="is deprecated already: too few"):
        filled.deprecate("team/pairs", why="too few")
    filled.deprecate("team/pairs", why="too few by far")
    assert filled.deprecate("team/pairs", lift=True) == "team/pairs:v2"
    assert filled.datasets.get("team/pairs").deprecated == "" and filled.fsck().faults == ()


@pytest.mark.parametrize(
    ("reference", "why", "successor", "lift", "words"),
    [
        ("team/vector", " ", None, False, "needs a reason"),
        ("team/vector", "x", "team/vector:v1", False, "cannot be its own successor"),
        ("team/vector", "x", "team/pairs", False, "there is no vector team/pairs"),
        ("team/vector", "x", "team/none", False, "there is no vector team/none"),
        ("team/none", "x", None, False, "there is no dataset or vector team/none"),
        ("team/vector", "", None, True, "is not deprecated"),
    ],
)
def test_what_cannot_be_deprecated(
    filled: Registry, reference: str, why: str, successor: str | None, lift: bool, words: str
) -> None:
    before = len(filled.audit.ls())
    with pytest.raises(CaaError, match=words):
        filled.deprecate(reference, why=why, successor=successor, lift=lift)
    assert len(filled.audit.ls()) == before
