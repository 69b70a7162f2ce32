"""Steering vectors of one computation: one per layer, raw, with what describes them.

numpy is imported where numbers are computed: listings of vectors name what is here and need none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from caa_registry.digests import digest_bytes, digest_object
from caa_registry.display.records import Record, Table
from caa_registry.errors import UsageError
from caa_registry.wording import named_layers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNMEASURED = (
    "How far to trust it was not measured. That takes 4 different pairs, and where they answer by letters, two letters "
    "that are each right in some: else nothing tells the behavior from the letter."
)
"""What is said of a vector that was computed and whose layers have no quality."""
NOT_FROM_PAIRS = "How far to trust it was not measured: that takes the pairs that it was made from."
"""What is said of one that was not computed from pairs."""


@dataclass(frozen=True)
class LayerQuality(Record):
    """What is known about the vector of one layer. See ``extraction.quality`` for how it is measured.

    ``auc``, ``cohens_d``: separation on held-out pairs. The pairs are split in random halves; the direction of one half
    is what both sides of the pairs of the other are projected on, and the two ways round are averaged. AUC is the share
    of all combinations of a positive and a negative side in which the positive one projects higher, ties counting half
    (Mann & Whitney 1947); Cohen's d is the difference of the mean projections over their pooled standard deviation
    (Cohen 1988), at most 1e6 in size. Sides that are letters are compared with those of the same letter, and the mean
    over letters is given.

    ``null_auc``, ``null_cohens_d``: the 99th percentile of the same over 199 random swaps of labels, with the method
    fitted anew to each: what a direction of nothing reaches in one case of a hundred. ``null_auc_mean`` is the mean of
    these AUCs. ``p_value``: the share of them that reach ``auc``, which itself counts as one. ``signal``: whether that
    is at most 0.01; ``None`` for fewer than 10 clusters, too few to tell.

    ``split_half_cosine``: mean cosine between the directions of two halves, over 20 random splits; with a zero
    direction it is 0. ``difference_cosine``: mean cosine of the pairs' differences to their mean (Braun et al. 2025).

    ``dominant_dimension``, ``dominant_share``: the coordinate with the largest share ``v_i^2 / |v|^2`` and that share.
    Near 1, the vector is one massive activation (Sun et al. 2024) more than a direction. ``clusters``: how many
    clusters of pairs that ask the same there are. ``words_auc``: of free text the separation that held-out words reach
    without any model (``pairs.lint.vocabulary.words_auc``), the same at every layer.

    What was measured before letters and clusters were told apart has no ``p_value``, ``difference_cosine`` and
    ``clusters``: its ``signal`` may be one of letters, or of repeats.
    """

    auc: float
    cohens_d: float
    null_auc: float
    null_auc_mean: float
    null_cohens_d: float
    signal: bool | None
    split_half_cosine: float
    dominant_dimension: int
    dominant_share: float
    p_value: float | None = None
    difference_cosine: float | None = None
    clusters: int | None = None
    words_auc: float | None = None

    def as_json(self) -> dict[str, float | int | bool | None]:
        """Plain numbers by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LayerQuality:
        """What ``as_json`` gave, of this release or an earlier one."""
        if "bootstrap_cosine" in values:
            values = {key: value for key, value in values.items() if key != "bootstrap_cosine"}
        return cls(**values)


def words_alone(qualities: Mapping[int, LayerQuality]) -> str:
    """In a sentence how far words alone tell the sides apart, and at which layers the vector does no better; empty
    where that was not measured."""
    found = next((quality.words_auc for quality in qualities.values() if quality.words_auc is not None), None)
    if found is None:
        return ""
    said = f"Words alone, held out and without a model, tell the sides apart with an AUC of {found:.3f}."
    equalled = [layer for layer, quality in qualities.items() if quality.auc <= found]
    if not equalled:
        return said
    where = "every layer" if len(equalled) == len(qualities) else named_layers(equalled)
    return f"{said} At {where} that is as much as the vector: its AUC may be that of the words."


@dataclass(frozen=True, eq=False)
class LayerVector(Record):
    """The steering vector of one layer.

    ``values``: float32 ``(d_model,)``, raw: neither normalized nor scaled; in a ``DirectionSet`` also
    ``(rank, d_model)``.
    ``residual_norm``: mean Euclidean norm of the activations it was computed from, the unit in which its length means
    something; ``None`` where unknown.
    ``quality``: how far to trust it; ``None`` where that was not measured.
    """

    _facts: ClassVar = (
        "layer values norm residual_norm auc cohens_d null_auc p_value signal split_half_cosine difference_cosine "
        "dominant_dimension dominant_share clusters words_auc"
    )
    _columns: ClassVar = "layer norm residual_norm auc null_auc signal split_half_cosine difference_cosine"

    layer: int
    values: NDArray[np.float32]
    residual_norm: float | None = None
    quality: LayerQuality | None = None

    def _as_row(self) -> dict[str, Any]:
        measured = {"layer": self.layer, "norm": self.norm, "residual_norm": self.residual_norm}
        return {**measured, **(self.quality.as_json() if self.quality else {})}

    @property
    def norm(self) -> float:
        """Euclidean norm, computed in float64."""
        import numpy as np

        return float(np.linalg.norm(self.values.astype(np.float64)))

    @property
    def sha256(self) -> str:
        """Digest of the raw little-endian bytes."""
        import numpy as np

        return digest_bytes(np.ascontiguousarray(self.values, dtype="<f4").tobytes())


def tensor_digest(layers: Mapping[int, str], width: int, rank: int = 1) -> str:
    """Identity of the numbers of a vector: layer, dtype, shape and raw bytes of each, never the file that holds them.
    ``layers``: the ``sha256`` of each, in their order. ``rank``: directions a layer."""
    shape = [width] if rank == 1 else [rank, width]
    tensors = [
        {"layer": layer, "dtype": "float32", "shape": shape, "sha256": sha256} for layer, sha256 in layers.items()
    ]
    return digest_object("tensors", {"tensors": tensors})


@dataclass(frozen=True, eq=False)
class DirectionSet(Table):
    """Numbers by layer, ascending: float32 ``(d_model,)``, or ``(rank, d_model)`` for several directions a layer.
    Raises ``UsageError`` where they do not belong together."""

    _facts: ClassVar = "d_model"
    _several: ClassVar = True

    layers: tuple[LayerVector, ...]

    def _rows(self) -> Sequence[LayerVector]:
        return self.layers

    def __post_init__(self) -> None:
        import numpy as np

        numbers = [vector.layer for vector in self.layers]
        if not numbers or numbers != sorted(set(numbers)) or numbers[0] < 0:
            raise UsageError(f"layers must be given once each, ascending from 0: {numbers}")
        if len({vector.values.shape for vector in self.layers}) != 1:
            raise UsageError("the vectors of a set must have one width")
        for vector in self.layers:
            shape = vector.values.shape
            fits = len(shape) == 1 or (self._several and len(shape) == 2 and shape[0] > 1)
            if not fits or vector.values.dtype != np.float32:
                raise UsageError(f"layer {vector.layer}: a steering vector is one float32 row")
            if not np.isfinite(vector.values).all():
                raise UsageError(
                    f"layer {vector.layer}: the vector holds values that are not finite",
                    "The model's activations overflowed; load it in float32 or bfloat16.",
                )

    @classmethod
    def of(cls, vectors: Iterable[LayerVector]) -> Self:
        return cls(tuple(vectors))

    @property
    def d_model(self) -> int:
        return int(self.layers[0].values.shape[-1])

    @property
    def rank(self) -> int:
        """DirectionSet a layer."""
        values = self.layers[0].values
        return int(values.shape[0]) if values.ndim == 2 else 1

    @property
    def layer_numbers(self) -> list[int]:
        return [vector.layer for vector in self.layers]

    @property
    def tensor_digest(self) -> str:
        """See ``tensor_digest``."""
        return tensor_digest({vector.layer: vector.sha256 for vector in self.layers}, self.d_model, self.rank)

    def __getitem__(self, layer: int) -> LayerVector:
        for vector in self.layers:
            if vector.layer == layer:
                return vector
        raise UsageError(f"this vector has no layer {layer}", f"It has {named_layers(self.layer_numbers)}.")


@dataclass(frozen=True, eq=False)
class VectorSet(DirectionSet):
    """Steering vectors by layer, ascending: one row each. Raises ``UsageError`` where they do not belong together."""

    _several = False
