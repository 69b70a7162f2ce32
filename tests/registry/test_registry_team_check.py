"""What scripts/check_team.py says of a registry: nothing where all is as its clients were told, else what is not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.changed import change

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

from team_client import Journal
from team_history import History, Write
from team_look import look_at
from team_operations import GONE, NONE, THERE, digest_of_numbers, digest_of_rows, made

from caa_registry.errors import NotFoundError
from caa_registry.registry.registry import Registry

ROWS = [("Is tea good?", "Yes", "No")]


class Bytes:
    """The blobs of a registry, but for those that were ``lost``."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.lost: set[str] = set()

    def get(self, digest: str) -> bytes | None:
        try:
            return None if digest in self.lost else self._registry.blobs.get(digest)
        except NotFoundError:
            return None


@pytest.fixture
def told(registry: Registry, tmp_path: Path) -> History:
    """What a client was told of two datasets, a vector, an alias, a tag, a text and a deletion."""
    lines = Journal(tmp_path / "w0-0.jsonl")
    history = History()

    def tell(kind: str, line: dict[str, object], name: str = "", content: str = "") -> None:
        lines.write(do=kind, may=[], made=content, name=name)
        lines.write(**line)

    for number in (1, 2):
        rows = ROWS * number
        version = registry.datasets.add("team/d0", pairs=[(f"{number} {p}", a, b) for p, a, b in rows], split="all")
        content = digest_of_rows((f"{number} {p}", a, b, "all") for p, a, b in rows)
        tell("import", made(version, "dataset", content), "dataset team/d0", content)
    registry.delete("dataset:team/d0:v2")
    tell("delete", {"told": [(f"dataset team/d0 {version.digest}", GONE)]})
    values = np.ones((1, 8), np.float32)
    save_file({"layer.1": values[0]}, tmp_path / "v.safetensors")
    vector = registry.vectors.import_(tmp_path / "v.safetensors", name="team/v0", behavior="mixed")
    tell("register", made(vector, "vector", digest_of_numbers({1: values[0]})), "vector team/v0", "file")
    registry.aliases.set("vector:team/v0:v1", "best")
    moved = [("ada", "vector", "team/v0", "best", NONE, "v1")]
    tell("alias, expecting", {"told": [("alias vector team/v0 best", "v1")], "moved": moved})
    registry.tags.set("vector:team/v0:v1", {"status": "new"})
    tell("tag", {"told": [(f"tag vector team/v0 {vector.digest} status", "new")]})
    registry.describe("vector:team/v0:v1", text="A vector.")
    tell("describe", {"told": [("text vector team/v0", "A vector.")]})
    history.read(tmp_path / "w0-0.jsonl", 0.0)
    history.close()
    assert history.problems == [] and history.counts["import: done"] == 2
    return history


def test_a_registry_that_is_as_its_clients_were_told(told: History, registry: Registry) -> None:
    problems, looked = look_at(told, registry, Bytes(registry))
    assert problems == [] and looked["versions"] == 3 and looked["read"] == 3 and looked["told of"] == 3


def _change(registry: Registry, statement: str) -> None:
    assert registry.database.path is not None
    change(registry.database.path, statement)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (
            lambda r: _change(r, "UPDATE dataset_version SET number = 3 WHERE number = 2"),
            "the versions of dataset team/d0 are [1, 3]",
        ),
        (lambda r: r.aliases.remove("vector:team/v0:best"), "is 'none', and must be ['v1']"),
        (lambda r: r.tags.set("vector:team/v0:v1", {"status": "old"}), "is 'old', and must be ['new']"),
        (lambda r: r.describe("vector:team/v0:v1", text="Another."), "is 'Another.', and must be ['A vector.']"),
        (lambda r: r.delete("dataset:team/d0:v1"), "is deleted, and must be ['there']"),
        (lambda r: r.undelete("dataset:team/d0:v2"), "is there, and must be ['deleted']"),
        (lambda r: r.datasets.add("team/d0", pairs=ROWS), "dataset team/d0 has 1 versions that nobody was told of"),
        (
            lambda r: _change(r, "DELETE FROM dataset_member WHERE version_id = 2"),
            "which is deleted: dataset team/d0",
        ),
    ],
)
def test_what_is_not_as_it_was_told_is_found(
    told: History, registry: Registry, damage: Callable[[Registry], object], problem: str
) -> None:
    damage(registry)
    problems, _ = look_at(told, registry, Bytes(registry))
    assert any(problem in each for each in problems), problems


def test_lost_and_other_bytes_are_found(told: History, registry: Registry) -> None:
    kept = Bytes(registry)
    version = registry.vectors.get("team/v0")
    kept.lost.add(version.blob)
    assert any("are not in the bucket" in each for each in look_at(told, registry, kept)[0])
    kept.lost.clear()
    told.contents[f"vector team/v0 {version.digest}"].add("others")
    told.numbers[f"vector team/v0 {version.digest}"].add("v2")
    told.moved.append(("bob", "vector", "team/v0", "best", "v1", "v1"))
    problems, _ = look_at(told, registry, kept)
    for part in ("and must hold", "was told to be ['v1', 'v2']", "is in the log 0 times"):
        assert any(part in each for each in problems), (part, problems)


@pytest.mark.parametrize(
    ("writes", "possible"),
    [
        ([], {NONE}),
        ([Write("a", 1, 2, told=True)], {"a"}),
        ([Write("a", 1, 2, told=False)], {NONE, "a"}),
        ([Write("a", 1, 2, told=True), Write("b", 3, 4, told=True)], {"b"}),
        ([Write("a", 1, 4, told=True), Write("b", 2, 3, told=True)], {"a", "b"}),
        ([Write("a", 1, 2, told=False), Write("b", 3, 4, told=True)], {"b"}),
        ([Write("a", 1, 9, told=False), Write("b", 3, 4, told=True)], {"a", "b"}),
        ([Write("a", 1, 2, told=True), Write("b", 3, 4, told=False)], {"a", "b"}),
    ],
)
def test_what_is_there_is_what_was_told_last_or_may_have_come_later(writes: list[Write], possible: set[str]) -> None:
    history = History()
    history.writes["x"] = writes
    assert history.possible("x", NONE) == possible


def test_a_version_that_nobody_was_told_of_may_have_been_there_before_somebody_met_it() -> None:
    history = History(writes={"vector v 1": [Write(GONE, 1, 2, told=False)]})
    assert history.possible("vector v 1", NONE, "vector v") == {NONE, GONE}
    history.maybe["vector v"] += 1
    assert history.possible("vector v 1", NONE, "vector v") == {NONE, GONE, THERE}
