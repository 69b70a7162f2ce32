"""What a client of a team's registry does, and what it is told of it.

What is said of is written as words: ``vector team/v0 sha256:...`` is a version, ``alias vector team/v0 best``,
``tag vector team/v0 sha256:... status``, ``text vector team/v0`` and ``evaluation 7`` are what they look like, and
``second vector team/v0 sha256:...`` is a version in the other registry.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from sqlalchemy import exists, select

import caa_registry as caa
from caa_registry.catalog import models as t
from caa_registry.registry.registry import Registry

THERE, GONE, NONE = "there", "deleted", "none"
BASE = "base"
"""What the names of versions begin with that others build on, and nobody deletes."""
SECOND = "second"
"""What the names begin with of which only the other registry makes versions."""
TABLES: Mapping[str, tuple[Any, Any, Any]] = {
    "dataset": (t.Dataset, t.DatasetVersion, t.DatasetVersion.dataset_id),
    "vector": (t.Vector, t.VectorVersion, t.VectorVersion.vector_id),
}
"""By kind the names, the versions, and the column of these that says whose they are."""
_LAYERS = (1, 2)
_WIDTH = 128


class NothingThereError(Exception):
    """There is nothing yet that this could be done to."""


class Begin(Protocol):
    """Writes down what may come of what is done now: what is to be what. ``made``: what a version would be made of
    whose digest is not known yet, the next or a deleted one of ``name``."""

    def __call__(self, *may: tuple[str, str], made: str = "", name: str = "") -> None: ...


@dataclass(frozen=True)
class Place:
    """Where a client works. ``second``: the path of the other registry; ``source``: by reference what it gives there,
    with what comes along: kind, name and digest of each, its own last; ``home``: a folder of the client's own."""

    url: str
    second: str
    source: Mapping[str, Sequence[tuple[str, str, str]]]
    home: Path


@dataclass(frozen=True)
class Version:
    kind: str
    name: str
    number: int
    digest: str

    @property
    def about(self) -> str:
        return f"{self.kind} {self.name} {self.digest}"

    @property
    def reference(self) -> str:
        return f"{self.kind}:{self.name}:v{self.number}"


class Operations:
    """Each tells by ``begin`` what may come of it, does it, and gives what it was told: ``told``, what is what now;
    ``numbers``, of versions; ``content``, the digest of what they hold; ``moved``, an alias that was where it was
    expected; ``collected``, what gc removed though it was not to."""

    def __init__(self, registry: Registry, place: Place, who: str, chance: random.Random, begin: Begin) -> None:
        self.registry, self.place, self.who, self.chance, self.begin = registry, place, who, chance, begin

    def _names(self, kind: str) -> str:
        """A name that all share, or one of its own."""
        initial = kind[0]
        return f"team/{initial}{self.chance.randrange(4)}" if self.chance.random() < 0.7 else f"{self.who}/{initial}"

    def _some(
        self, kind: str, *, deleted: bool = False, base: bool = False, pulled: bool = False, unused: bool = False
    ) -> Version:
        """A version that is there, or one that was deleted; ``pulled``: of a name that only the other registry gives,
        if there is one; ``unused``: from which nothing was made."""
        owner, version, column = TABLES[kind]
        query = select(owner.name, version.number, version.digest).join(owner, owner.id == column)
        query = query.where(version.deleted_at.is_not(None) if deleted else version.deleted_at.is_(None))
        if not base:
            query = query.where(owner.name.not_like(f"{BASE}/%"))
        if unused:
            io = t.RunIO
            query = query.where(~exists().where(io.kind == kind, io.object_id == version.id, io.direction == "input"))
        with self.registry.database.read() as session:
            rows = session.execute(query.order_by(version.id)).all()
        if not rows:
            raise NothingThereError
        taken = [row for row in rows if pulled and row.name.startswith(f"{SECOND}/")]
        name, number, digest = self.chance.choice(taken or rows)
        return Version(kind, name, number, digest)

    def _any(self, *, deleted: bool = False, pulled: bool = False, unused: bool = False) -> Version:
        kind = self.chance.choice(["dataset", "vector", "vector"])
        return self._some(kind, deleted=deleted, pulled=pulled, unused=unused)

    def _met(self) -> Version:
        """A version that is there; half of the time one of two that nobody deletes, so that clients meet at it."""
        if self.chance.random() < 0.5:
            return self._any()
        kind, name = self.chance.choice([("dataset", f"{BASE}/pairs"), ("vector", f"{BASE}/demo")])
        nouns: Any = self.registry.datasets if kind == "dataset" else self.registry.vectors
        return Version(kind, name, 1, nouns.get(f"{kind}:{name}:v1").digest)

    @cached_property
    def _model(self) -> Any:
        return self.registry.models.load("demo")

    def import_(self) -> dict[str, Any]:
        name, about = self._names("dataset"), self.chance.sample(range(40), self.chance.randrange(2, 7))
        rows = [(f"Is {each} good?", "Yes", "No") for each in sorted(about)]
        self.begin(made=digest_of_rows((*row, "all") for row in rows), name=f"dataset {name}")
        version = self.registry.datasets.add(name, pairs=rows, split="all")
        return made(version, "dataset", digest_of_rows((*row, "all") for row in rows))

    def register(self) -> dict[str, Any]:
        from safetensors.numpy import save_file

        seed, name = self.chance.randrange(60), self._names("vector")
        values = np.random.default_rng(seed).standard_normal((len(_LAYERS), _WIDTH), dtype=np.float32)
        path = self.place.home / f"{seed}.safetensors"
        save_file({f"layer.{layer}": row for layer, row in zip(_LAYERS, values, strict=True)}, path)
        self.begin(made=f"file {seed}", name=f"vector {name}")
        version = self.registry.vectors.import_(path, name=name, model=self._model, behavior="mixed")
        return made(version, "vector", digest_of_numbers(dict(zip(_LAYERS, values, strict=True))))

    def compute(self) -> dict[str, Any]:
        pairs, name = self._some("dataset", base=True), self._names("vector")
        method: Any = self.chance.choice(["mean-difference", "pca"])
        self.begin(made=f"{method} {pairs.digest}", name=f"vector {name}")
        version = self.registry.vectors.compute(
            name, dataset=pairs.reference, model=self._model, method=method, layers=_LAYERS
        )
        return made(version, "vector")

    def combine(self) -> dict[str, Any]:
        terms = [self._some("vector", base=True) for _ in range(2)]
        weight, name = self.chance.choice([-1.0, 0.5]), self._names("vector")
        self.begin(made=f"{terms[0].digest} {weight} {terms[1].digest}", name=f"vector {name}")
        version = self.registry.vectors.combine(
            name, [(terms[0].reference, 1.0), (terms[1].reference, weight)], behavior="mixed"
        )
        return made(version, "vector")

    def evaluate(self) -> dict[str, Any]:
        multiplier, layer = 1 + self.chance.randrange(40) / 10, self.chance.choice(_LAYERS)
        self.begin(made="scores", name="evaluation")
        evaluation = self.registry.evaluations.propensity(
            f"vector:{BASE}/demo:v1",
            model=self._model,
            layers=[layer],
            multipliers=[-multiplier, multiplier],
            settings=caa.PropensitySettings(draws=19),
        )
        return {"told": [(f"evaluation {evaluation.id}", THERE)]}

    def _set_alias(self, expect: bool) -> dict[str, Any]:
        version, alias = self._any(), self.chance.choice(["best", "old"])
        about, state = f"alias {version.kind} {version.name} {alias}", f"v{version.number}"
        expected = None
        if expect:
            targets = {(each.kind, each.name, each.alias): each.target for each in self.registry.aliases.ls()}
            expected = targets.get((version.kind, version.name, alias), NONE).rpartition(":")[2]
        self.begin((about, state))
        self.registry.aliases.set(version.reference, alias, expect=expected)
        moved = [] if expected is None else [[self.who, version.kind, version.name, alias, expected, state]]
        return {"told": [(about, state)], "moved": moved}

    def alias(self) -> dict[str, Any]:
        return self._set_alias(expect=False)

    def alias_expecting(self) -> dict[str, Any]:
        return self._set_alias(expect=True)

    def alias_removed(self) -> dict[str, Any]:
        aliases = self.registry.aliases.ls()
        if not aliases:
            raise NothingThereError
        alias = self.chance.choice(list(aliases))
        about = f"alias {alias.kind} {alias.name} {alias.alias}"
        self.begin((about, NONE))
        self.registry.aliases.remove(f"{alias.kind}:{alias.name}:{alias.alias}")
        return {"told": [(about, NONE)]}

    def tag(self) -> dict[str, Any]:
        version, key, value = self._met(), self.chance.choice(["status", "owner"]), f"{self.who}-{self.chance.random()}"
        told = [(f"tag {version.about} {key}", value)]
        self.begin(*told)
        self.registry.tags.set(version.reference, {key: value})
        return {"told": told}

    def tag_removed(self) -> dict[str, Any]:
        tags = list(self.registry.tags.ls())
        if not tags:
            raise NothingThereError
        tag = self.chance.choice(tags)
        kind, _, rest = tag.reference.partition(":")
        nouns: Any = self.registry.datasets if kind == "dataset" else self.registry.vectors
        told = [(f"tag {kind} {rest.rpartition(':')[0]} {nouns.get(rest).digest} {tag.key}", NONE)]
        self.begin(*told)
        self.registry.tags.remove(tag.reference, tag.key)
        return {"told": told}

    def describe(self) -> dict[str, Any]:
        version, text = self._met(), f"What {self.who} says, {self.chance.random()}."
        told = [(f"text {version.kind} {version.name}", text)]
        self.begin(*told)
        self.registry.describe(version.reference, text=text)
        return {"told": told}

    def delete(self) -> dict[str, Any]:
        about, reference = self._of_evaluation(deleted=False) or self._of_version(deleted=False)
        self.begin((about, GONE))
        self.registry.delete(reference)
        return {"told": [(about, GONE)]}

    def undelete(self) -> dict[str, Any]:
        about, reference = self._of_evaluation(deleted=True) or self._of_version(deleted=True)
        self.begin((about, THERE))
        self.registry.undelete(reference)
        return {"told": [(about, THERE)]}

    def _of_version(self, *, deleted: bool) -> tuple[str, str]:
        pulled, unused = self.chance.random() < 0.5, not deleted and self.chance.random() < 0.7
        version = self._any(deleted=deleted, pulled=pulled, unused=unused)
        return version.about, version.reference

    def _of_evaluation(self, *, deleted: bool) -> tuple[str, str] | None:
        """An evaluation, once in eight times."""
        table = t.Evaluation
        query = select(table.id).where(table.deleted_at.is_not(None) if deleted else table.deleted_at.is_(None))
        with self.registry.database.read() as session:
            ids = list(session.scalars(query.order_by(table.id)))
        if not ids or self.chance.random() > 1 / 8:
            return None
        chosen = self.chance.choice(ids)
        return f"evaluation {chosen}", f"evaluation:{chosen}"

    def gc_without_grace(self) -> dict[str, Any]:
        self.begin()
        self.registry.gc(grace=timedelta(0))
        return {}

    def gc(self) -> dict[str, Any]:
        self.begin()
        collected = self.registry.gc()
        return {"collected": [*collected.versions, collected.blobs]} if collected.versions or collected.blobs else {}

    def pull(self) -> dict[str, Any]:
        references = self.chance.sample(sorted(self.place.source), self.chance.randrange(1, 3))
        coming = [f"{kind} {name} {digest}" for each in references for kind, name, digest in self.place.source[each]]
        told = [(about, THERE) for about in dict.fromkeys(coming)]
        self.begin(*told)
        taken = self.registry.pull(*references, source=self.place.second)
        numbers = []
        for version in taken.versions:
            name, _, number = version.became.rpartition(":")
            *_, (_, _, digest) = self.place.source[f"{version.kind}:{version.reference}"]
            numbers.append((f"{version.kind} {name} {digest}", number))
        return {"told": told, "numbers": numbers}

    def push(self) -> dict[str, Any]:
        version = self._any()
        self.begin()
        self.registry.push(version.reference, to=self.place.second)
        return {"told": [(f"second {version.about}", THERE)]}

    def read(self) -> dict[str, Any]:
        version = self._some("vector")
        self.begin()
        loaded = self.registry.vectors.load(version.reference)
        return {"content": {version.about: digest_of_numbers({each.layer: each.values for each in loaded.layers})}}


WAYS: Mapping[str, tuple[int, Callable[[Operations], dict[str, Any]]]] = {
    "import": (10, Operations.import_),
    "register": (10, Operations.register),
    "compute": (8, Operations.compute),
    "combine": (6, Operations.combine),
    "evaluate": (2, Operations.evaluate),
    "alias": (6, Operations.alias),
    "alias, expecting": (6, Operations.alias_expecting),
    "alias, removed": (2, Operations.alias_removed),
    "tag": (6, Operations.tag),
    "tag, removed": (2, Operations.tag_removed),
    "describe": (3, Operations.describe),
    "delete": (16, Operations.delete),
    "undelete": (5, Operations.undelete),
    "gc, no grace": (5, Operations.gc_without_grace),
    "gc": (2, Operations.gc),
    "pull": (7, Operations.pull),
    "push": (3, Operations.push),
    "read": (5, Operations.read),
}
"""What is done, how often of a hundred or so, and by what."""


def made(version: Any, kind: str, content: str = "") -> dict[str, Any]:
    """What is told of a version that was made, or was there. ``content``: the digest of what was given."""
    about = f"{kind} {version.name} {version.digest}"
    return {
        "told": [(about, THERE)],
        "numbers": [(about, f"v{version.number}")],
        "content": {about: content} if content else {},
    }


def digest_of_rows(rows: Iterable[Sequence[str]]) -> str:
    """Of prompt, positive, negative and split of each, in any order."""
    return hashlib.sha256(json.dumps(sorted(map(list, rows))).encode()).hexdigest()


def digest_of_numbers(layers: Mapping[int, Any]) -> str:
    """Of the float32 numbers of each layer."""
    found = hashlib.sha256()
    for layer in sorted(layers):
        found.update(f"{layer}\0".encode() + np.ascontiguousarray(layers[layer], dtype="<f4").tobytes())
    return found.hexdigest()
