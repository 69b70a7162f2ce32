"""Vector versions and how they were computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from caa_registry.display.records import Record, Table
from caa_registry.errors import UsageError
from caa_registry.models.folder.fingerprint import ModelInfo
from caa_registry.models.rendering.prompts import TemplateName
from caa_registry.registry.records.origin import FileOrigin, Origin
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
    """One immutable version of a steering vector.

    What was computed from pairs of the registry has their ``dataset``, its ``model`` and its ``recipe``. Anything else
    has an ``origin`` and no recipe, its ``dataset`` is empty, and its ``model`` is ``None`` where nobody said which it
    is of. ``behavior`` is that of its dataset or its origin, unless ``Registry.describe`` was told another.

    ``actor``: who made it, and ``message``: what they said of it. ``description``: what the vector is, in a text about
    all its versions. ``quarantined``: which recall reaches it, and why; empty where none does. ``deprecated``: why, and
    what to use instead; empty where it is not.

    ``unchecked_before``: of one older than the digests of rows, since when it is checked.
    ``existing``: the call found it rather than made it. ``reading``: set where it was computed. ``comparison``: set
    where it was computed again.
    """

    _facts: ClassVar = (
        "digest behavior made_from model_name recipe d_model description message actor aliases tags comparison "
        "quarantined deprecated created_at"
    )
    _columns: ClassVar = (
        "reference digest behavior made_from model_name layer_numbers aliases actor message quarantined deprecated"
    )

    id: int = field(repr=False)
    name: str
    number: int
    digest: str
    tensor_digest: str
    dataset: str
    dataset_digest: str
    model: ModelInfo | None
    recipe: Recipe | None
    origin: Origin | None = field(hash=False)
    blob: str = field(repr=False)
    layers: Sequence[LayerRecord] = field(repr=False)
    d_model: int
    created_at: datetime
    aliases: Sequence[str] = ()
    behavior: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    description: str = ""
    message: str = ""
    actor: str = ""
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

    @property
    def model_name(self) -> str:
        """The model's name; of one that is only claimed, that it is."""
        return self.model.name if self.model else f"claimed: {self.claimed_model or 'unnamed'}"

    @property
    def claimed_model(self) -> str:
        """The model that the file of an imported vector names; empty where it names none, and of other vectors."""
        return self.origin.claims.model if isinstance(self.origin, FileOrigin) else ""

    @property
    def template(self) -> TemplateName | None:
        """How the texts that it was read from were rendered; ``None`` where that is not known."""
        return self.recipe.template if self.recipe else None

    @property
    def made_from(self) -> str:
        """Its dataset, else in a few words where it comes from."""
        return self.origin.source if self.origin else self.dataset

    @property
    def rank(self) -> int:
        """Directions a layer; those of more than one are kept and never added."""
        return self.origin.rank if isinstance(self.origin, FileOrigin) else 1

    def known_model(self) -> ModelInfo:
        """Its model. Raises ``UsageError`` where that is only claimed."""
        if self.model is None:
            raise self.claimed_error()
        return self.model

    def claimed_error(self) -> UsageError:
        """What is wrong where its model has to be known and is not."""
        return UsageError(
            f"the model of {self.reference} is only claimed ({self.claimed_model or 'the file names none'})",
            "Import the file again with --model M: that checks its width and layers, and records who named it.",
        )

    def known_dataset(self) -> str:
        """The reference of its pairs. Raises ``UsageError`` where it was not made from any here."""
        if not self.dataset:
            raise UsageError(
                f"{self.reference} was not computed from pairs here, so it has no dataset of its own",
                "Name one: --dataset REF.",
            )
        return self.dataset

    def known_recipe(self) -> Recipe:
        """How it was computed. Raises ``UsageError`` where it was not computed from pairs of this registry."""
        if self.recipe is None:
            raise UsageError(
                f"{self.reference} was not computed from pairs here (made from: {self.made_from})",
                "Name a vector that was made by: caa vector compute",
            )
        return self.recipe

    @property
    def not_addable(self) -> str:
        """Why it must not be added to a stream; empty where it may be."""
        return self.origin.not_addable if isinstance(self.origin, FileOrigin) else ""

    def check_addable(self) -> None:
        """Raise ``UsageError`` for one that must not be added to a stream."""
        if self.not_addable:
            raise UsageError(
                f"{self.reference} cannot be added to a model: {self.not_addable}",
                "It is kept as its file says, and not applied.",
            )
