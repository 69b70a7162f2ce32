"""Whatever is stored, named, deleted, brought back, collected, copied and restored, in whatever order: the registry
holds what a model of a few lines says, and fsck finds nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.tried import Tried

import caa_registry as caa
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import Recipe
from caa_registry.registry.registry import Registry
from caa_registry.registry.vectors.store import Making, add, store_bytes
from caa_registry.vectors import LayerVector, VectorSet

NAMES = st.sampled_from(["a/one", "a/two"])
PAIRS = st.sets(st.integers(0, 4), min_size=1, max_size=3).map(frozenset)
RECIPE = Recipe("mean-difference", "generate", "last", "plain", "sha256:" + "0" * 64, (0, 1), "float32", 1, 0)


@dataclass
class Version:
    """What the model knows of a version. ``content``: the pairs of a dataset, of a vector those and its seed; ``of``:
    the dataset that it was made from."""

    content: Any
    of: str = ""
    deleted: bool = False
    empty: bool = False


class Machine(RuleBasedStateMachine):
    registry: Registry
    checked: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="caa-stateful-"))
        self.path = self.folder / "0.db"
        self.registry = caa.open(str(self.path), actor="ada")
        self.model = self.registry.models.add("demo")
        self.versions: dict[str, dict[str, Version]] = {"dataset": {}, "vector": {}}
        self.aliases: dict[tuple[str, str], str] = {}

    def teardown(self) -> None:
        self.registry.close()
        shutil.rmtree(self.folder)

    def live(self, kind: str) -> list[str]:
        return [name for name, version in self.versions[kind].items() if not version.deleted]

    def stored(self, kind: str, name: str, content: Any, of: str = "") -> str:
        """The name that a version with this content has, or gets."""
        own = {key: each for key, each in self.versions[kind].items() if key.startswith(f"{name}:")}
        key = next((key for key, each in own.items() if each.content == content), f"{name}:v{len(own) + 1}")
        self.versions[kind][key] = Version(content, of)
        return key

    @rule(name=NAMES, pairs=PAIRS)
    def import_(self, name: str, pairs: frozenset[int]) -> None:
        file = self.folder / "pairs.jsonl"
        rows = [{"prompt": f"Is it {i}?", "positive": "Yes", "negative": "No"} for i in sorted(pairs)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        version = self.registry.datasets.import_(str(file), name=name)
        assert version.reference == self.stored("dataset", name, pairs)

    @precondition(lambda self: self.live("dataset"))
    @rule(name=NAMES, seed=st.integers(0, 2), data=st.data())
    def compute(self, name: str, seed: int, data: st.DataObject) -> None:
        of = data.draw(st.sampled_from(self.live("dataset")))
        dataset = self.registry.datasets.get(of)
        values = np.random.default_rng(seed).standard_normal((2, 8), dtype=np.float32)
        vectors = VectorSet.of(LayerVector(layer, row) for layer, row in enumerate(values))
        making = Making(dataset.digest, self.model.info.fingerprint.digest, replace(RECIPE, pairs=seed + 1))
        stored = store_bytes(self.registry.blobs, vectors, making, "demo")
        content = (self.versions["dataset"][of].content, seed)
        own = {key: each for key, each in self.versions["vector"].items() if key.startswith(f"{name}:")}
        twin = next((each for each in own.values() if each.content == content), None)
        if twin is not None and twin.deleted and self.versions["dataset"][twin.of].deleted:
            # The same pairs under another name do not bring it back.
            with pytest.raises(UsageError, match="is deleted too"), self.registry.database.write() as session:
                add(self.registry.workspace, session, name, stored, dataset.id, self.model.id)
            return
        with self.registry.database.write() as session:
            row, new = add(self.registry.workspace, session, name, stored, dataset.id, self.model.id)
            reference = f"{name}:v{row.number}"
            if new:
                record_run(
                    session,
                    Activity("compute", "ada", {}),
                    inputs=[("dataset", dataset.id), ("model", self.model.id)],
                    outputs=[("vector", row.id)],
                    subject={"vector": reference, "digest": stored.digest},
                )
        # The same pairs under another name are the same origin, and it stays made from those it was made from first.
        assert reference == self.stored("vector", name, content, twin.of if twin else of)

    @precondition(lambda self: self.live("dataset"))
    @rule(kind=st.sampled_from(["dataset", "vector"]), alias=st.sampled_from(["best", "old"]), data=st.data())
    def name(self, kind: str, alias: str, data: st.DataObject) -> None:
        if self.live(kind):
            reference = data.draw(st.sampled_from(self.live(kind)))
            self.registry.aliases.set(f"{kind}:{reference}", alias)
            self.aliases[f"{kind}:{reference.partition(':')[0]}", alias] = reference

    @precondition(lambda self: self.aliases)
    @rule(data=st.data())
    def unname(self, data: st.DataObject) -> None:
        owner, alias = data.draw(st.sampled_from(sorted(self.aliases)))
        self.registry.aliases.remove(f"{owner}:{alias}")
        del self.aliases[owner, alias]

    def needed(self, kind: str, reference: str) -> bool:
        named = any(owner.startswith(kind) and to == reference for (owner, _), to in self.aliases.items())
        vectors = self.versions["vector"]
        return named or (kind == "dataset" and any(vectors[key].of == reference for key in self.live("vector")))

    @precondition(lambda self: self.live("dataset"))
    @rule(kind=st.sampled_from(["dataset", "vector"]), data=st.data())
    def delete(self, kind: str, data: st.DataObject) -> None:
        if not self.live(kind):
            return
        reference = data.draw(st.sampled_from(self.live(kind)))
        if self.needed(kind, reference):
            with pytest.raises(UsageError, match="is needed by"):
                self.registry.delete(f"{kind}:{reference}")
        else:
            assert self.registry.delete(f"{kind}:{reference}") == f"{kind}:{reference}"
            self.versions[kind][reference].deleted = True

    @precondition(lambda self: self.versions["dataset"])
    @rule(kind=st.sampled_from(["dataset", "vector"]), data=st.data())
    def undelete(self, kind: str, data: st.DataObject) -> None:
        if not self.versions[kind]:
            return
        reference = data.draw(st.sampled_from(sorted(self.versions[kind])))
        version = self.versions[kind][reference]
        if not version.deleted:
            with pytest.raises(NotFoundError):
                self.registry.undelete(f"{kind}:{reference}")
        elif version.empty or (version.of and self.versions["dataset"][version.of].deleted):
            with pytest.raises(UsageError, match=r"was made from|were removed"):
                self.registry.undelete(f"{kind}:{reference}")
        else:
            assert self.registry.undelete(f"{kind}:{reference}") == f"{kind}:{reference}"
            version.deleted = False

    @rule()
    def collect(self) -> None:
        vectors = self.versions["vector"]
        kept = {vectors[key].content for key in self.live("vector")}
        for version in self.versions["dataset"].values():
            version.empty = version.empty or version.deleted
        for version in vectors.values():
            version.empty = version.content not in kept
        self.registry.gc(grace=timedelta(0))

    @rule()
    def copy_and_restore(self) -> None:
        made = self.registry.backup(self.folder / f"{self.path.stem}.copy")
        self.registry.close()
        self.path = self.path.with_name(f"{int(self.path.stem) + 1}.db")
        self.registry = caa.restore(made.path, str(self.path), actor="ada")

    @invariant()
    def holds_what_the_model_says(self) -> None:
        if not hasattr(self, "versions"):
            return
        Machine.checked += 1
        assert self.registry.fsck().damage == ()
        datasets = {
            v.reference: frozenset(int(i.pair.prompt[6:-1]) for i in self.registry.datasets.pairs(v))
            for name in {key.partition(":")[0] for key in self.live("dataset")}
            for v in (self.registry.datasets.get(key) for key in self.live("dataset") if key.startswith(f"{name}:"))
        }
        assert datasets == {key: self.versions["dataset"][key].content for key in self.live("dataset")}
        vectors = self.registry.vectors.ls(all_versions=True)
        assert {v.reference for v in vectors} == set(self.live("vector"))
        for v in vectors:
            expected = np.random.default_rng(self.versions["vector"][v.reference].content[1]).standard_normal(
                (2, 8), dtype=np.float32
            )
            assert np.array_equal([each.values for each in self.registry.vectors.load(v).layers], expected)
        assert {(f"{a.kind}:{a.name}", a.alias): a.target for a in self.registry.aliases.ls()} == self.aliases


class TestRegistry(Machine.TestCase):  # type: ignore[misc]
    settings = settings(max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))

    @pytest.fixture(autouse=True)
    def _tell(self, tried: Tried) -> Iterator[None]:
        Machine.checked = 0
        yield
        tried(f"{Machine.checked} times the registry was compared with the model, with fsck each time")
