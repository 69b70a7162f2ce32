"""Two vectors, or one at two layers, on the same items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from caa_registry.errors import UsageError
from caa_registry.evaluation.inference.intervals import Interval
from caa_registry.evaluation.inference.p_values import holm, paired_test
from caa_registry.evaluation.letters import contrasts
from caa_registry.evaluation.measurements import Measurements, Observed
from caa_registry.evaluation.statistics import effects, steerability
from caa_registry.references import ranges


@dataclass(frozen=True)
class Compared:
    """One statistic of two measurements of the same items.

    ``difference``: of ``one`` minus ``other``, paired by item. ``p_value``: two-sided sign-flip permutation test;
    ``p_holm`` is corrected for all comparisons made together (Holm 1979). ``clusters``: how many clusters of items it
    rests on.
    """

    metric: str
    layer: int
    other_layer: int
    one: float
    other: float
    difference: Interval
    p_value: float
    p_holm: float
    clusters: int


def compare(
    one: Measurements,
    other: Measurements,
    items: Sequence[tuple[int, int]],
    layers: Sequence[tuple[int, int]] | None = None,
) -> list[Compared]:
    """Steerability and effect of ``one`` and ``other`` at each pair of ``layers`` (default: each that both have with
    itself), at the multipliers that both have.

    ``items``: places of the items that are the same in both. Items that the paper counts as 0 are left out. Raises
    ``UsageError`` where there is no common item, fewer than two common multipliers, or no such layer.
    """
    multipliers = [multiplier for multiplier in one.multipliers if multiplier in other.multipliers]
    if len(multipliers) < 2:
        raise UsageError("the two have fewer than two multipliers in common", "Evaluate both at the same, as -1,0,1.")
    if one.metric != other.metric:
        raise UsageError(f"one is scored by {one.metric}, the other by {other.metric}", "Choose comparable datasets.")
    counted = [(a, b) for a, b in items if one.vector.counted[a] and other.vector.counted[b]]
    if not counted:
        raise UsageError("the two have no question in common", "Evaluate both on the same dataset and split.")
    pairs = layers or [(layer, layer) for layer in one.layers if layer in other.layers]
    if not pairs:
        raise UsageError("the two have no layer in common", "Name a layer of each.")
    comparisons: list[Compared] = []
    for layer, other_layer in pairs:
        sides = [
            _at(measured, layer, [pair[side] for pair in counted], multipliers)
            for side, (measured, layer) in enumerate(((one, layer), (other, other_layer)))
        ]
        for metric, values in (
            ("steerability", [steerability(side, multipliers)[0] for side in sides]),
            ("effect", [effects(side)[0] for side in sides]),
        ):
            weighed = contrasts(sides[0])
            p_value = paired_test(values[0], values[1], weighed.units, weighed.weights).p_value
            mean, other_mean = (float(value @ weighed.weights) for value in values)
            difference = weighed.behavior((values[0] - values[1])[:, None])[0]
            compared = Compared(
                metric, layer, other_layer, mean, other_mean, difference, p_value, p_value, weighed.units.count
            )
            comparisons.append(compared)
    corrected = holm([compared.p_value for compared in comparisons])
    return [replace(compared, p_holm=p) for compared, p in zip(comparisons, corrected, strict=True)]


def _at(measured: Measurements, layer: int, items: Sequence[int], multipliers: Sequence[float]) -> Observed:
    if layer not in measured.layers:
        raise UsageError(f"layer {layer} was not evaluated", f"Layers: {ranges(list(measured.layers))}.")
    steps = [measured.multipliers.index(multiplier) for multiplier in multipliers]
    log_p: NDArray[np.float64] = measured.vector.log_p[[measured.layers.index(layer)]][:, steps][:, :, list(items)]
    rows = [measured.vector.rows[i] for i in items]
    letters = tuple(measured.vector.letters[i] for i in items)
    return Observed(tuple(rows), letters, log_p, tuple(measured.vector.clusters[i] for i in items))
