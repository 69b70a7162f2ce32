"""Where a vector comes from that was not computed from pairs of the registry: a file, or other vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from caa_registry.digests import floats_as_text
from caa_registry.display.records import Record
from caa_registry.formats.claims import Claims
from caa_registry.registry.records.stored import Stored
from caa_registry.wording import named_layers

_REVISION = 1

CombineOperation = Literal["sum", "mean", "difference", "orthogonalize", "normalize", "interpolate"]
"""How vectors become one, layer by layer."""
COMBINE_OPERATIONS: tuple[CombineOperation, ...] = get_args(CombineOperation)

_NOUNS = {
    "sum": "sum",
    "mean": "mean",
    "difference": "difference",
    "interpolate": "interpolation",
    "orthogonalize": "orthogonalization",
    "normalize": "normalization",
}


@dataclass(frozen=True)
class FileOrigin(Record):
    """A file of another tool, and what it means; see ``formats.imported.ImportedVectors`` for the fields.

    ``files``: the digest of each. What they were called is no part of it: the run that imported them knows.
    ``behavior``: what the vector steers. ``rank``: directions a layer. ``not_addable``: why the vector is kept and
    never added, empty where adding it is right.
    """

    format: str
    producer: str
    files: tuple[str, ...]
    layer_rule: str
    hook_point: str
    derived_at: Mapping[int, str]
    top_is_final_norm: bool
    scale: str
    operation: str
    rank: int
    strengths: Mapping[int, float]
    dtypes: tuple[str, ...]
    claims: Claims
    untested: bool
    not_addable: str
    warnings: tuple[str, ...]
    behavior: str

    def _called(self) -> str:
        return self.source

    @property
    def source(self) -> str:
        """In a few words where the vector comes from."""
        return f"{self.format} file of {self.producer}" if self.producer else f"{self.format} file"

    @property
    def measured_elsewhere(self) -> str:
        """At which layers it was measured elsewhere than it is applied, and where; empty where at none."""
        by_place: dict[str, list[int]] = {}
        for layer, place in self.derived_at.items():
            by_place.setdefault(place, []).append(layer)
        return "; ".join(f"{named_layers(layers)}: {place}" for place, layers in by_place.items())

    def to_json(self) -> dict[str, Any]:
        """What is stored, and what the digest of the vector covers. Floats are texts."""
        values = {
            **vars(self),
            "kind": "import",
            "files": list(self.files),
            "derived_at": {str(layer): place for layer, place in self.derived_at.items()},
            "strengths": {str(layer): strength for layer, strength in self.strengths.items()},
            "claims": self.claims.as_json(),
        }
        plain: dict[str, Any] = floats_as_text(values)
        return plain

    @classmethod
    def from_json(cls, values: Mapping[str, Any], vector: str) -> FileOrigin:
        """What ``to_json`` gave, of any revision. Raises ``RegistryError`` naming the ``vector`` and the key."""
        stored = Stored(values, f"the origin of {vector}")
        stored.check_revision(_REVISION)
        claims = Stored(stored.get("claims", dict), f"'claims' in the origin of {vector}")
        try:
            return cls(
                format=stored.get("format", str),
                producer=stored.get("producer", str),
                files=tuple(map(str, stored.get("files", list))),
                layer_rule=stored.get("layer_rule", str),
                hook_point=stored.get("hook_point", str),
                derived_at={int(layer): place for layer, place in stored.get("derived_at", dict).items()},
                top_is_final_norm=stored.get("top_is_final_norm", bool),
                scale=stored.get("scale", str),
                operation=stored.get("operation", str),
                rank=stored.get("rank", int),
                strengths={int(layer): float(value) for layer, value in stored.get("strengths", dict).items()},
                dtypes=tuple(stored.get("dtypes", list)),
                claims=Claims(
                    model=claims.get("model", str),
                    revision=claims.get("revision", str),
                    model_type=claims.get("model_type", str),
                    layers=None if claims.values.get("layers") is None else claims.get("layers", int),
                    data=claims.get("data", str),
                    method=claims.get("method", str),
                    reference=claims.get("reference", str),
                    digests=claims.get("digests", dict),
                    statements=claims.get("statements", dict),
                ),
                untested=stored.get("untested", bool),
                not_addable=stored.get("not_addable", str),
                warnings=tuple(stored.get("warnings", list)),
                behavior=stored.get("behavior", str),
            )
        except (TypeError, ValueError) as error:
            raise stored.unreadable(str(error)) from error


@dataclass(frozen=True)
class CombinedTerm(Record):
    """One of the vectors that others are made of, by its ``digest``, and the ``weight`` that it was given."""

    digest: str
    weight: float


@dataclass(frozen=True)
class CombinedOrigin(Record):
    """Other vectors of the same model, put together layer by layer. ``behavior``: what the result steers."""

    operation: CombineOperation
    terms: tuple[CombinedTerm, ...]
    behavior: str

    def _called(self) -> str:
        return self.source

    @property
    def source(self) -> str:
        """In a few words where the vector comes from."""
        count = len(self.terms)
        return f"{_NOUNS[self.operation]} of {count} vectors" if count > 1 else f"{_NOUNS[self.operation]} of a vector"

    def to_json(self) -> dict[str, Any]:
        """What is stored, and what the digest of the vector covers. Floats are texts."""
        return {
            "kind": "combine",
            "operation": self.operation,
            "terms": [{"digest": term.digest, "weight": repr(term.weight)} for term in self.terms],
            "behavior": self.behavior,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], vector: str) -> CombinedOrigin:
        """What ``to_json`` gave, of any revision. Raises ``RegistryError`` naming the ``vector`` and the key."""
        stored = Stored(values, f"the origin of {vector}")
        stored.check_revision(_REVISION)
        operation = stored.get("operation", str)
        try:
            terms = tuple(CombinedTerm(each["digest"], float(each["weight"])) for each in stored.get("terms", list))
        except (KeyError, TypeError, ValueError) as error:
            raise stored.unreadable(f"'terms': {error}") from error
        for known in COMBINE_OPERATIONS:
            if operation == known:
                return cls(known, terms, stored.get("behavior", str))
        raise stored.unreadable(f"'operation' is {operation!r}")


Origin = FileOrigin | CombinedOrigin


def origin_of(values: Mapping[str, Any], vector: str) -> Origin:
    """The origin that is stored with ``vector``. Raises ``RegistryError`` naming the vector and the key."""
    stored = Stored(values, f"the origin of {vector}")
    kind = stored.get("kind", str)
    if kind == "import":
        return FileOrigin.from_json(values, vector)
    if kind == "combine":
        return CombinedOrigin.from_json(values, vector)
    raise stored.unreadable(f"'kind' is {kind!r}")
