"""The norm ratio: how long what is added is beside what it is added to."""

from __future__ import annotations

from collections.abc import Sequence

from caa_registry.evaluation.inference.intervals import Interval
from caa_registry.evaluation.measurements import VECTOR
from caa_registry.evaluation.statistics import Figure
from caa_registry.vectors import VectorSet


def norm_ratios(vectors: VectorSet, layers: Sequence[int], multipliers: Sequence[float]) -> list[Figure]:
    """By layer and multiplier the norm of the multiplied vector over the mean norm of the activations that the vector
    was made from. Layers of which that norm is not known are left out."""
    figures = []
    for layer in layers:
        vector = vectors[layer]
        if not vector.residual_norm:
            continue
        for multiplier in multipliers:
            ratio = abs(multiplier) * vector.norm / vector.residual_norm
            figures.append(Figure(VECTOR, layer, multiplier, "norm_ratio", Interval(ratio, None, None, 1)))
    return figures
