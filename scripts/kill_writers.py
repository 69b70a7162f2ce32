"""Writers that do a bit of everything to one registry and tell what they were told, and what must be there of it.

Each writer has names of its own, so that what it was told last is what must be there, and one name that all share.
What was begun and neither told nor refused may be there or not.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

import caa_registry as caa
from caa_registry.errors import CaaError, NotFoundError, RegistryError, UsageError
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import Recipe
from caa_registry.registry.registry import Registry
from caa_registry.registry.vectors.store import Making, add, store_bytes
from caa_registry.vectors import LayerVector, VectorSet

RECIPE = Recipe("mean-difference", "generate", "last", "plain", "sha256:" + "0" * 64, (0, 1), "float32", 1, 0)
GONE = "deleted"
# A gc of another writer that leaves no time may remove bytes before they are referred to, and many writers on a slow
# machine may wait for the lock too long. Then nothing is written.
_REFUSALS = ("caa gc removed bytes that were just stored", "lock timeout")


def prepare(url: str) -> None:
    """Make what all writers build on: the demo model."""
    with caa.open(url, actor="ada") as registry:
        registry.models.add("demo")


def write(url: str, folder: Path, number: int, seed: int, tell: Callable[[dict[str, Any]], None], most: int) -> None:
    """Do up to ``most`` things, and tell of each before and after. Ends at an error that is none of the usual."""
    chance = random.Random(seed)
    home = folder / f"w{number}"
    home.mkdir(exist_ok=True)
    os.environ["CAA_HOME"] = str(home)
    with caa.open(url, actor=f"w{number}", create=False) as registry:
        writer = _Writer(registry, home, f"w{number}", chance, tell)
        for _ in range(most):
            kind, work = chance.choices(writer.ways(), weights=writer.weights())[0]
            tell({"begin": kind})
            try:
                told = work()
            except (UsageError, NotFoundError) as refusal:
                tell({"refused": refusal.message})
            except CaaError as error:
                usual = isinstance(error, RegistryError) and any(words in error.message for words in _REFUSALS)
                tell({"refused" if usual else "failed": error.message})
            else:
                tell({"told": told})


class _Writer:
    def __init__(
        self, registry: Registry, home: Path, name: str, chance: random.Random, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        self.registry, self.home, self.name, self.chance, self.tell = registry, home, name, chance, tell

    def ways(self) -> list[tuple[str, Callable[[], dict[str, Any]]]]:
        return [
            ("import", self.import_),
            ("import shared", self.import_shared),
            ("vector", self.vector),
            ("alias", self.alias),
            ("deprecate", self.deprecate),
            ("delete", self.delete),
            ("undelete", self.undelete),
            ("gc", self.gc),
            ("backup", self.backup),
            ("curate", self.curate),
            ("compute", self.compute),
        ]

    @staticmethod
    def weights() -> list[int]:
        return [6, 3, 6, 3, 2, 4, 3, 2, 2, 2, 1]

    def _pairs(self, owner: str) -> str:
        file = self.home / "pairs.jsonl"
        rows = [
            {"prompt": f"Is {self.chance.randrange(40)} good?", "positive": "Yes", "negative": f"No {owner}"}
            for _ in range(self.chance.randrange(1, 12))
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(file)

    def _own(self, kind: str) -> str:
        """One of the versions that are there."""
        nouns: Any = self.registry.datasets if kind == "dataset" else self.registry.vectors
        name = f"{self.name}/{kind[0]}{self.chance.randrange(2)}"
        newest = nouns.get(f"{kind}:{name}").number
        return f"{kind}:{name}:v{self.chance.randrange(1, newest + 1)}"

    def import_(self) -> dict[str, Any]:
        version = self.registry.datasets.import_(
            self._pairs(self.name), name=f"{self.name}/d{self.chance.randrange(2)}"
        )
        return {f"dataset:{version.reference}": version.digest}

    def import_shared(self) -> dict[str, Any]:
        version = self.registry.datasets.import_(self._pairs(""), name="team/shared")
        return {f"dataset:{version.reference}": version.digest}

    def curate(self) -> dict[str, Any]:
        from caa_registry.pairs.curation.choosing import Filter

        keep = Filter(f"'{self.chance.randrange(4)}' in prompt")
        version = self.registry.datasets.curate(keep, self._own("dataset"), name=f"{self.name}/d1").version
        return {f"dataset:{version.reference}": version.digest} if version else {}

    def vector(self) -> dict[str, Any]:
        registry = self.registry
        dataset, model = registry.datasets.get(self._own("dataset")), registry.models.get("demo")
        values = np.random.default_rng(self.chance.randrange(4)).standard_normal((2, 512), dtype=np.float32)
        vectors = VectorSet.of(LayerVector(layer, row) for layer, row in enumerate(values))
        recipe = replace(RECIPE, pairs=self.chance.randrange(1, 4))
        stored = store_bytes(
            registry.blobs, vectors, Making(dataset.digest, model.info.fingerprint.digest, recipe), "demo"
        )
        name = f"{self.name}/v{self.chance.randrange(2)}"
        with registry.database.write() as session:
            row, new = add(registry.workspace, session, name, stored, dataset.id, model.id)
            reference, digest = f"vector:{name}:v{row.number}", row.digest
            if new:
                record_run(
                    session,
                    Activity("compute", registry.actor, {}),
                    inputs=[("dataset", dataset.id), ("model", model.id)],
                    outputs=[("vector", row.id)],
                    subject={"vector": f"{name}:v{row.number}", "digest": stored.digest},
                )
        return {reference: digest}

    def compute(self) -> dict[str, Any]:
        version = self.registry.vectors.compute(
            f"{self.name}/computed", dataset=self._own("dataset"), model="demo", layers=[self.chance.randrange(4)]
        )
        return {f"vector:{version.reference}": version.digest}

    def alias(self) -> dict[str, Any]:
        kind = self.chance.choice(["dataset", "vector"])
        reference, alias = self._own(kind), self.chance.choice(["best", "old"])
        owner, _, number = reference.rpartition(":")
        what = {f"alias:{owner}:{alias}": number}
        self.tell({"may": what})
        self.registry.aliases.set(reference, alias)
        return what

    def deprecate(self) -> dict[str, Any]:
        reference, why = self._own("dataset"), f"reason {self.chance.randrange(1000)}"
        what = {f"deprecated:{reference}": why}
        self.tell({"may": what})
        self.registry.deprecate(reference, why=why)
        return what

    def delete(self) -> dict[str, Any]:
        reference = self._own(self.chance.choice(["dataset", "vector", "vector"]))
        self.tell({"may": {reference: GONE}})
        self.registry.delete(reference)
        return {reference: GONE}

    def undelete(self) -> dict[str, Any]:
        kind = self.chance.choice(["dataset", "vector"])
        reference = self.registry.undelete(f"{kind}:{self.name}/{kind[0]}{self.chance.randrange(2)}")
        nouns: Any = self.registry.datasets if kind == "dataset" else self.registry.vectors
        return {reference: nouns.get(reference).digest}

    def gc(self) -> dict[str, Any]:
        self.registry.gc(grace=timedelta(0))
        return {}

    def backup(self) -> dict[str, Any]:
        folder = self.home / "backups"
        folder.mkdir(exist_ok=True)
        made = self.registry.backup(folder, keep=1)
        return {f"backup:{made.path}": made.head}


@dataclass
class Expected:
    """What must be there. ``states``: by what it is about, all that it may be: the digest of a version or ``GONE``,
    what an alias points at, why something is deprecated. ``cut``: how many operations were cut off."""

    states: dict[str, set[str]] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    cut: int = 0
    failed: list[str] = field(default_factory=list)
    _digests: dict[str, str] = field(default_factory=dict)

    def read(self, name: str, lines: Iterable[dict[str, Any]]) -> None:
        """What one writer told in one round."""
        kind, may = "", {}
        for line in lines:
            if "begin" in line:
                kind, may = line["begin"], {}
            elif "may" in line:
                may = line["may"]
            elif "told" in line:
                self.told[kind] += 1
                self._set(line["told"])
                kind = ""
            elif "refused" in line:
                self.refused += 1
                kind = ""
            elif "failed" in line:
                self.failed.append(f"{kind}: {line['failed']}")
                self._loosen(name, kind, may)
                kind = ""
        if kind:
            self.cut += 1
            self._loosen(name, kind, may)

    def _set(self, told: dict[str, str]) -> None:
        for about, state in told.items():
            self.states[about] = {state}
            if about.startswith(("dataset:", "vector:")) and state != GONE:
                self._digests[about] = state

    def _loosen(self, name: str, kind: str, may: dict[str, str]) -> None:
        """What an operation was about may be as it is, or as it would be."""
        for about, state in may.items():
            self.states[about] = {*self.states.get(about, {""}), state}
        if kind in ("import", "curate", "vector", "compute", "undelete"):
            # What was deleted may be back, by the same content or by its name.
            for about, states in self.states.items():
                if GONE in states and about.split(":")[1].startswith(f"{name}/"):
                    states.add(self._digests[about])

    def problems(self, url: str) -> list[str]:
        """What is not as it must be. What may be one thing or another is from now on what it is."""
        found = []
        with caa.open(url, create=False) as registry:
            found += [f"fsck: {each.check}: {each.thing}: {each.problem}" for each in registry.fsck().damage]
            aliases = {f"alias:{a.kind}:{a.name}:{a.alias}": a.target.rpartition(":")[2] for a in registry.aliases.ls()}
            for about, states in self.states.items():
                kind, _, reference = about.partition(":")
                if kind == "backup":
                    now = _backup(Path(reference), states)
                elif kind == "alias":
                    now = aliases.get(about, "")
                elif kind == "deprecated":
                    now = _deprecated(registry, reference, states)
                else:
                    now = _version(registry, kind, reference)
                if now not in states:
                    found.append(f"{about} is {now!r}, and must be {sorted(states)}")
                self.states[about] = {now}
        # The next round makes others.
        self.states = {about: states for about, states in self.states.items() if not about.startswith("backup:")}
        return found


def _version(registry: Registry, kind: str, reference: str) -> str:
    nouns: Any = registry.datasets if kind == "dataset" else registry.vectors
    try:
        digest: str = nouns.get(reference).digest
    except NotFoundError:
        return GONE
    return digest


def _deprecated(registry: Registry, reference: str, states: set[str]) -> str:
    try:
        return registry.datasets.get(reference.removeprefix("dataset:")).deprecated
    except NotFoundError:
        return min(states)  # it was deleted


def _backup(path: Path, states: set[str]) -> str:
    """The head of its log, if it is a whole registry; one that a later backup replaced counts as whole."""
    if not path.exists():
        return min(states)
    with caa.open(str(path), read_only=True) as copy:
        damage = copy.fsck().damage
        head = copy.audit.head()
    return str(damage) if damage or head is None else head.digest
