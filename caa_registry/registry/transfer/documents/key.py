"""What a thing is called in every registry."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

from caa_registry.digests import short
from caa_registry.pairs.source import Fields
from caa_registry.registry.records.locked_dataset import digest_in

ThingKind = Literal["dataset", "model", "vector", "plan", "evaluation", "pair"]
KINDS: tuple[ThingKind, ...] = get_args(ThingKind)


class Key(NamedTuple):
    """A thing by what it is: its digest (of a model its fingerprint).

    ``name``: of a dataset or vector version its name, since versions of two names are two; of an evaluation the name of
    its vector and when it began, since the same may be measured twice; else empty.
    """

    kind: ThingKind
    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}@{short(self.digest)}" if self.name else f"{self.kind} {short(self.digest)}"

    def to_json(self) -> list[str]:
        return [self.kind, self.name, self.digest]

    @classmethod
    def from_json(cls, values: Any, what: str, field: str) -> Key:
        found = values if isinstance(values, list) and len(values) == 3 else [None, None, None]
        read = Fields(dict(zip(("kind", "name", "digest"), found, strict=True)), what, field)
        kind = next((kind for kind in KINDS if kind == read.get("kind", str)), None)
        if kind is None:
            raise read.bad("is none of " + ", ".join(KINDS), "kind")
        return cls(kind, read.get("name", str), digest_in(read, "digest"))
