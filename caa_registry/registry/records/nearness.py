"""How near vectors are to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caa_registry.display.records import Record
from caa_registry.registry.records.evaluation import Evaluation
from caa_registry.registry.records.vector import VectorVersion

if TYPE_CHECKING:
    from caa_registry.evaluation.comparison import Compared


@dataclass(frozen=True)
class Similar(Record):
    """Another vector at the same layer of the same model.

    ``cosine``: between the two. ``noise``: the mean cosine between the directions of two halves of that vector's own
    pairs; ``None`` where it was not measured.
    """

    version: VectorVersion
    layer: int
    cosine: float
    noise: float | None


@dataclass(frozen=True)
class LayerNearness(Record):
    """Two vectors at one layer. ``cosine``: ``None`` where one of them is zero. ``norm``, ``other_norm``: Euclidean
    lengths. ``noise``, ``other_noise``: as in ``Similar``, of each."""

    layer: int
    cosine: float | None
    norm: float
    other_norm: float
    noise: float | None
    other_noise: float | None


@dataclass(frozen=True)
class Transferred(Record):
    """A vector on another quantization of its model, beside the vector that was computed there. ``near``: the two at
    each layer; ``carried``, ``there``: what each does on that model; ``compared``: the difference, paired."""

    near: Sequence[LayerNearness]
    carried: Evaluation
    there: Evaluation
    compared: Sequence[Compared]
