"""Steering vectors of one computation: one per layer, raw, with what describes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from caa_registry.digests import digest_bytes, digest_object
from caa_registry.errors import UsageError
from caa_registry.references import ranges

if TYPE_CHECKING:
    from caa_registry.vectors.quality import LayerQuality


@dataclass(frozen=True, eq=False)
class LayerVector:
    """The steering vector of one layer.

    ``values``: float32 ``(d_model,)``, raw: neither normalized nor scaled. ``residual_norm``: mean Euclidean norm of
    the activations it was computed from, the unit in which its length means something; ``None`` where unknown.
    ``quality``: how far to trust it; ``None`` where that was not measured.
    """

    layer: int
    values: NDArray[np.float32]
    residual_norm: float | None = None
    quality: LayerQuality | None = None

    @property
    def norm(self) -> float:
        """Euclidean norm, computed in float64."""
        return float(np.linalg.norm(self.values.astype(np.float64)))

    @property
    def sha256(self) -> str:
        """Digest of the raw little-endian bytes."""
        return digest_bytes(np.ascontiguousarray(self.values, dtype="<f4").tobytes())


@dataclass(frozen=True, eq=False)
class VectorSet:
    """Steering vectors by layer, ascending. Raises ``UsageError`` where they do not belong together."""

    layers: tuple[LayerVector, ...]

    def __post_init__(self) -> None:
        numbers = [vector.layer for vector in self.layers]
        if not numbers or numbers != sorted(set(numbers)) or numbers[0] < 0:
            raise UsageError(f"layers must be given once each, ascending from 0: {numbers}")
        if len({vector.values.shape for vector in self.layers}) != 1:
            raise UsageError("the vectors of a set must have one width")
        for vector in self.layers:
            if vector.values.ndim != 1 or vector.values.dtype != np.float32:
                raise UsageError(f"layer {vector.layer}: a steering vector is one float32 row")
            if not np.isfinite(vector.values).all():
                raise UsageError(
                    f"layer {vector.layer}: the vector holds values that are not finite",
                    "The model's activations overflowed; load it in float32 or bfloat16.",
                )

    @classmethod
    def of(cls, vectors: Iterable[LayerVector]) -> VectorSet:
        return cls(tuple(vectors))

    @property
    def d_model(self) -> int:
        return int(self.layers[0].values.shape[0])

    @property
    def layer_numbers(self) -> list[int]:
        return [vector.layer for vector in self.layers]

    @property
    def tensor_digest(self) -> str:
        """Identity of the numbers: layer, dtype, shape and raw bytes of each, never the file that holds them."""
        return digest_object(
            "tensors",
            {
                "tensors": [
                    {"layer": v.layer, "dtype": "float32", "shape": [self.d_model], "sha256": v.sha256}
                    for v in self.layers
                ]
            },
        )

    def __getitem__(self, layer: int) -> LayerVector:
        for vector in self.layers:
            if vector.layer == layer:
                return vector
        raise UsageError(f"this vector has no layer {layer}", f"Its layers are {ranges(self.layer_numbers)}.")
