"""From answers, item by item, to figures with intervals.

Items are the unit: they are what is resampled, paired and counted. Slopes and effects are of an item over multipliers,
so that an item's own difficulty does not widen them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.evaluation.intervals import Interval, bootstrap_difference, bootstrap_means
from caa_registry.evaluation.measurements import VECTOR, Control, Measurements, Observed


@dataclass(frozen=True)
class Figure:
    """One number of an evaluation with its interval.

    ``condition``: ``vector``, a baseline (``system-positive``, ``system-negative``, ``few-shot``) or a control
    (``random``, ``shuffled``), whose value is the mean over its vectors, whose interval holds the middle 95 % of them,
    and whose ``n`` is their number. ``multiplier`` is ``None`` for what is of a whole layer.
    """

    condition: str
    layer: int
    multiplier: float | None
    metric: str
    interval: Interval


def slopes(values: NDArray[np.float64], multipliers: Sequence[float]) -> NDArray[np.float64]:
    """Least-squares slope over multipliers, of which there are at least two, per unit: from
    ``(..., multipliers, items)`` to ``(..., items)``."""
    x = np.asarray(multipliers, dtype=np.float64)
    centred = x - x.mean()
    return np.asarray(np.einsum("m,...mi->...i", centred, values) / (centred @ centred))


def steerability(observed: Observed, multipliers: Sequence[float]) -> NDArray[np.float64]:
    """Per layer and item the slope of the log-odds over multipliers, nats per unit, ``(layers, items)``. Their mean is
    the slope of the mean logit difference (Tan et al. 2024, section 3). Items that the model was not asked are left
    out."""
    return slopes(observed.log_odds[..., observed.counted], multipliers)


def effects(observed: Observed) -> NDArray[np.float64]:
    """Per layer and item the propensity at the highest multiplier minus that at the lowest, ``(layers, items)``."""
    propensity = observed.propensity
    return np.asarray(propensity[:, -1] - propensity[:, 0])


def wrong_way(observed: Observed) -> NDArray[np.float64]:
    """1 for an item whose propensity is lower at the highest multiplier than at the lowest, else 0, ``(layers, items)``
    (the anti-steerable items of Tan et al. 2024)."""
    return (effects(observed) < 0).astype(np.float64)


def control_figures(control: Control, multipliers: Sequence[float]) -> dict[str, NDArray[np.float64]]:
    """Of each vector of a control: ``propensity`` ``(vectors, layers, multipliers)``; with at least two multipliers
    ``steerability`` and ``effect`` ``(vectors, layers)``."""
    figures = {"propensity": control.propensity}
    if len(multipliers) > 1:
        figures["steerability"] = slopes(control.log_odds[..., None], multipliers)[..., 0]
        figures["effect"] = np.asarray(control.propensity[..., -1] - control.propensity[..., 0])
    return figures


def middle(values: NDArray[np.float64]) -> Interval:
    """The mean of values and the range of their middle 95 % (2.5th to 97.5th percentile, interpolated)."""
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high), len(values))


def letter_bias(observed: Observed) -> list[Interval] | None:
    """Per layer and multiplier, in that order, the mean propensity of items whose matching letter is A (or 1) minus
    that of items where it is B (or 2). Without a preference for a letter it is 0. ``None`` where either is missing."""
    groups = [observed.propensity[..., np.isin(observed.letters, either)] for either in (["A", "1"], ["B", "2"])]
    if not all(group.shape[-1] for group in groups):
        return None
    one, other = (group.reshape(-1, group.shape[-1]).T for group in groups)
    return bootstrap_difference(one, other)


def by_letter(observed: Observed) -> dict[str, NDArray[np.float64]]:
    """Mean propensity by matching letter, ``(layers, multipliers)`` each. Empty where no item answers by a letter."""
    propensity, letters = observed.propensity, np.array(observed.letters)
    return {str(letter): propensity[..., letters == letter].mean(axis=-1) for letter in np.unique(letters) if letter}


def figures(measurements: Measurements) -> list[Figure]:
    """Everything that is stored of an evaluation beside its items, the vector's own figures first."""
    figures: list[Figure] = []
    for condition, observed in measurements.observed.items():
        figures += _by_cell(measurements, condition, measurements.metric, _means(observed.propensity))
        if condition == VECTOR and measurements.metric == "propensity":
            if observed.counted.any():
                figures += _by_cell(measurements, condition, "mass", _means(observed.mass[..., observed.counted]))
            bias = letter_bias(observed)
            figures += _by_cell(measurements, condition, "letter_bias", bias) if bias else []
        if len(measurements.multipliers) > 1:
            per_layer = {"effect": effects(observed), "wrong_way": wrong_way(observed)}
            if observed.counted.any():
                per_layer = {"steerability": steerability(observed, measurements.multipliers), **per_layer}
            for metric, values in per_layer.items():
                figures += _by_layer(measurements, condition, metric, bootstrap_means(values.T))
    for condition, control in measurements.controls.items():
        for metric, values in control_figures(control, measurements.multipliers).items():
            ranges = [middle(column) for column in values.reshape(len(values), -1).T]
            if metric == "propensity":
                figures += _by_cell(measurements, condition, measurements.metric, ranges)
            else:
                figures += _by_layer(measurements, condition, metric, ranges)
    return figures


def _means(values: NDArray[np.float64]) -> list[Interval]:
    return bootstrap_means(values.reshape(-1, values.shape[-1]).T)


def _by_cell(measurements: Measurements, condition: str, metric: str, intervals: Sequence[Interval]) -> list[Figure]:
    cells = [(layer, multiplier) for layer in measurements.layers for multiplier in measurements.multipliers]
    return [Figure(condition, *cell, metric, interval) for cell, interval in zip(cells, intervals, strict=True)]


def _by_layer(measurements: Measurements, condition: str, metric: str, intervals: Sequence[Interval]) -> list[Figure]:
    return [
        Figure(condition, layer, None, metric, interval)
        for layer, interval in zip(measurements.layers, intervals, strict=True)
    ]
