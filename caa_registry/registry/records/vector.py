"""Vector versions and how they were computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from caa_registry.display.records import Record, Table
from caa_registry.models.folder.fingerprint import ModelInfo
from caa_registry.registry.records.recipe import Recipe
from caa_registry.registry.records.stored import Stored
from caa_registry.vectors import LayerQuality

_REVISION = 1


@dataclass(frozen=True)
class LayerRecord(Record):
    """What is stored of one layer's vector. Norms are Euclidean; ``residual_norm`` that of the activations read.
    ``quality``: how far to trust it, where that was measured. Its bytes are ``nbytes`` from ``offset`` of the blob."""

    _facts: ClassVar = (
        "layer norm residual_norm sha256 auc cohens_d null_auc p_value signal split_half_cosine difference_cosine "
        "dominant_dimension dominant_share clusters words_auc"
    )
    _columns: ClassVar = "layer norm residual_norm auc null_auc signal split_half_cosine difference_cosine"

    layer: int
    norm: float
    residual_norm: float | None
    sha256: str
    offset: int
    nbytes: int
    quality: LayerQuality | None = None

    def _as_row(self) -> dict[str, Any]:
        stored = {"layer": self.layer, "norm": self.norm, "residual_norm": self.residual_norm, "sha256": self.sha256}
        return {**stored, **(self.quality.as_json() if self.quality else {})}


@dataclass(frozen=True)
class Comparison(Record):
    """A recomputation beside what is stored: the largest absolute difference relative to the largest layer norm, and
    the smallest cosine over layers."""

    _facts: ClassVar = "holds max_difference min_cosine"

    max_difference: float
    min_cosine: float

    @property
    def holds(self) -> bool:
        """Whether both agree within what float32 and another order of summation explain."""
        return self.max_difference <= 1e-4 and self.min_cosine >= 0.9999


@dataclass(frozen=True)
class Reading(Record):
    """What reading activations took: calls of the network and the tokens run in them, by this process, without
    padding; 0 where all was read before. ``processes``: how many worked together. ``not_shared``: why prompts were
    not shared between the sides of a pair, empty where they were."""

    forward_passes: int
    tokens: int
    processes: int = 1
    not_shared: str = ""

    def to_json(self) -> dict[str, Any]:
        """What the run that computed a vector keeps among its parameters."""
        return {
            "forward_passes": self.forward_passes,
            "tokens": self.tokens,
            "processes": self.processes,
            "not_shared": self.not_shared,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], run: str) -> Reading:
        """What ``to_json`` gave, of any revision. Raises ``RegistryError`` naming the ``run`` and the key."""
        stored = Stored(values, f"the reading of {run}")
        stored.check_revision(_REVISION)
        return cls(
            forward_passes=stored.get("forward_passes", int),
            tokens=stored.get("tokens", int),
            processes=stored.get("processes", int),
            not_shared=stored.get("not_shared", str),
        )


@dataclass(frozen=True)
class VectorVersion(Table):
    """One immutable version of a steering vector. ``behavior`` is that of its dataset. ``quarantined``: which recall
    reaches it, and why; empty where none does. ``deprecated``: why, and what to use instead; empty where it is not.

    ``unchecked_before``: of one older than the digests of rows, since when it is checked.
    ``existing``: the call found it rather than made it. ``reading``: set where it was computed. ``comparison``: set
    where it was computed again.
    """

    _facts: ClassVar = (
        "digest behavior dataset model recipe d_model aliases comparison quarantined deprecated created_at"
    )
    _columns: ClassVar = "reference digest behavior dataset model layer_numbers aliases quarantined deprecated"

    id: int = field(repr=False)
    name: str
    number: int
    digest: str
    tensor_digest: str
    dataset: str
    dataset_digest: str
    model: ModelInfo
    recipe: Recipe
    blob: str = field(repr=False)
    layers: Sequence[LayerRecord] = field(repr=False)
    d_model: int
    created_at: datetime
    aliases: Sequence[str] = ()
    behavior: str = ""
    quarantined: str = ""
    deprecated: str = ""
    unchecked_before: datetime | None = None
    existing: bool = False
    reading: Reading | None = None
    comparison: Comparison | None = None

    def _rows(self) -> Sequence[LayerRecord]:
        return self.layers

    @property
    def reference(self) -> str:
        return f"{self.name}:v{self.number}"

    @property
    def layer_numbers(self) -> list[int]:
        return [record.layer for record in self.layers]
