"""From answers, item by item, to figures with intervals.

Items are the unit, and clusters of items that ask the same are what varies by chance. Slopes and effects are of an item
over multipliers, so that an item's own difficulty does not widen them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.evaluation.doses.equal import DoseCurve, dose_curves, widened
from caa_registry.evaluation.doses.ladder import DOSES, LARGEST_DOSE, DoseSides, score_at
from caa_registry.evaluation.inference.intervals import Interval, Units, bounded, means, weighted_means
from caa_registry.evaluation.inference.power import Power
from caa_registry.evaluation.inference.shares import shares
from caa_registry.evaluation.letters import Contrasts, contrasts
from caa_registry.evaluation.measurements import VECTOR, Measurements, Null, Observed
from caa_registry.evaluation.nulls.comparison import drawn, tests
from caa_registry.evaluation.nulls.names import DRAWS


@dataclass(frozen=True)
class Figure:
    """One number of an evaluation with its interval.

    ``condition``: ``vector``, a baseline (``system-positive``, ``system-negative``, ``few-shot``) or a null
    (``covariance``, ``isotropic``, ``shuffled``), whose value is the mean over its vectors, whose interval holds the
    middle 95 % of them where they are 199 or more, and whose ``n`` is their number. ``multiplier`` is ``None`` for what
    is of a whole layer.
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


def token_slopes(observed: Observed, multipliers: Sequence[float]) -> NDArray[np.float64] | None:
    """As ``steerability``, of the log-likelihoods per token: each answer's log-probability over the number of its
    tokens, so that long texts do not count more. ``None`` where tokens were not counted."""
    if observed.tokens is None:
        return None
    per_token = observed.log_p / observed.tokens
    return slopes(per_token[..., observed.counted, 0] - per_token[..., observed.counted, 1], multipliers)


def effects(observed: Observed) -> NDArray[np.float64]:
    """Per layer and item the propensity at the highest multiplier minus that at the lowest, ``(layers, items)``. Items
    that the model was not asked are left out."""
    propensity = observed.propensity[..., observed.counted]
    return np.asarray(propensity[:, -1] - propensity[:, 0])


def wrong_ways(measurements: Measurements, observed: Observed) -> dict[str, NDArray[np.bool_]]:
    """Which items, ``(layers, items)``, move against the multiplier. ``anti_steerable``: their slope is below 0 (Tan et
    al. 2024). ``wrong_way_up``: their propensity is lower at the highest multiplier than without steering;
    ``wrong_way_down``: higher at the lowest. These two are left out where 0 was not measured, or nothing on that
    side."""
    multipliers = measurements.multipliers
    found = {"anti_steerable": steerability(observed, multipliers) < 0}
    if 0 in multipliers:
        propensity = observed.propensity[..., observed.counted]
        unsteered = propensity[:, multipliers.index(0)]
        if multipliers[-1] > 0:
            found["wrong_way_up"] = propensity[:, -1] < unsteered
        if multipliers[0] < 0:
            found["wrong_way_down"] = propensity[:, 0] > unsteered
    return found


def letter_bias(observed: Observed) -> list[Interval] | None:
    """Per layer and multiplier, in that order, the mean propensity of items whose matching letter is A (or 1) minus
    that of items where it is B (or 2). Without a preference for a letter it is 0. ``None`` where either is missing."""
    letters = np.array(observed.letters)
    first = np.isin(letters, ["A", "1"])
    kept = first | np.isin(letters, ["B", "2"])
    if not (first[kept].any() and (~first[kept]).any()):
        return None
    units = Units.of(np.array(observed.clusters)[kept], ~first[kept])
    return weighted_means(_columns(observed.propensity[..., kept]), units, [1.0, -1.0])


def by_letter(observed: Observed) -> dict[str, NDArray[np.float64]]:
    """Mean propensity by matching letter, ``(layers, multipliers)`` each. Empty where no item answers by a letter."""
    propensity, letters = observed.propensity, np.array(observed.letters)
    return {str(letter): propensity[..., letters == letter].mean(axis=-1) for letter in np.unique(letters) if letter}


def figures(measurements: Measurements) -> list[Figure]:
    """Everything that is stored of an evaluation beside its items, the vector's own figures first.

    Of every condition: its metric by layer and multiplier, and of the vector ``kl`` and the share ``answers_first``
    where they were measured; ``steerability`` and ``effect`` by layer, every letter
    counting the same, ``letter_slope`` and ``letter_effect`` (half of what the first letter moves more than the
    second), ``token_slope``, and the shares of ``wrong_ways``. Of the vector, where its dose was measured, what it does
    at equal doses (``doses.ladder``), and ``detectable_effect`` and ``detectable_slope``: the smallest that these items
    would show (``inference.power``), whose ``n`` are their clusters. Of every null: ``steerability`` and ``effect``,
    and for each of them ``p_...``, the p-value of the vector at that layer, and ``p_chosen_...``, that of the layer as
    one of all, whose ``n`` are the draws that it rests on.
    """
    found: list[Figure] = []
    for condition, observed in measurements.observed.items():
        every = Units.of(np.array(observed.clusters))
        values = [bounded(each, 0.0, 1.0) for each in means(_columns(observed.propensity), every)]
        found += _by_cell(measurements, condition, measurements.metric, values)
        if condition == VECTOR and measurements.metric == "propensity":
            found += _of_letters(measurements, observed, every)
        if observed.counted.any():
            found += _of_doses(measurements, condition, observed, every.take(observed.counted))
        if len(measurements.multipliers) > 1 and observed.counted.any():
            weighed = contrasts(observed)
            found += _by_slope(measurements, condition, observed, weighed)
            for metric, holds in wrong_ways(measurements, observed).items():
                found += _by_layer(measurements, condition, metric, shares(holds.T, weighed.units))
            if condition == VECTOR:
                found += _at_doses(measurements, observed, weighed)
    for name, null in measurements.nulls.items():
        found += _of_null(measurements, name, null)
    return found


def _of_letters(measurements: Measurements, observed: Observed, every: Units) -> Iterator[Figure]:
    if observed.counted.any():
        masses = means(_columns(observed.mass[..., observed.counted]), every.take(observed.counted))
        yield from _by_cell(measurements, VECTOR, "mass", [bounded(mass, 0.0, 1.0) for mass in masses])
    bias = letter_bias(observed)
    if bias:
        yield from _by_cell(measurements, VECTOR, "letter_bias", [bounded(each, -1.0, 1.0) for each in bias])


def _of_doses(measurements: Measurements, condition: str, observed: Observed, units: Units) -> Iterator[Figure]:
    if observed.kl is not None:
        divergences = means(_columns(observed.kl[..., observed.counted]), units)
        yield from _by_cell(measurements, condition, "kl", [bounded(each, 0.0, np.inf) for each in divergences])
    if observed.answers_first is not None:
        firsts = observed.answers_first[..., observed.counted].reshape(-1, len(units.clusters))
        yield from _by_cell(measurements, condition, "answers_first", shares(firsts.T, units))


def _by_slope(measurements: Measurements, condition: str, observed: Observed, weighed: Contrasts) -> Iterator[Figure]:
    for metric, of_letter, of_detectable, values, most in (
        (
            "steerability", "letter_slope", "detectable_slope",
            steerability(observed, measurements.multipliers), np.inf,
        ),
        ("effect", "letter_effect", "detectable_effect", effects(observed), 1.0),
    ):  # fmt: skip
        behavior = [bounded(each, -most, most) for each in weighed.behavior(values.T)]
        yield from _by_layer(measurements, condition, metric, behavior)
        if condition == VECTOR:
            yield from _detectable(measurements, of_detectable, weighed.power(values.T, behavior))
        letter = weighed.letter(values.T)
        if letter:
            yield from _by_layer(measurements, condition, of_letter, [bounded(each, -most, most) for each in letter])
    per_token = token_slopes(observed, measurements.multipliers)
    if per_token is not None:
        yield from _by_layer(measurements, condition, "token_slope", weighed.behavior(per_token.T))


def _at_doses(measurements: Measurements, observed: Observed, weighed: Contrasts) -> Iterator[Figure]:
    """Of each layer the largest dose that it reaches, and what it does at those of ``DOSES`` that it reaches: on both
    sides of 0, or on the one that was measured."""
    curves = dose_curves(observed, measurements.multipliers)
    if curves is None:
        return
    reached: list[tuple[int, float, DoseCurve, DoseSides]] = []
    for layer, curve in zip(measurements.layers, curves, strict=True):
        for sides in curve.sides[:1]:
            least, largest = curve.reach(sides)
            yield Figure(VECTOR, layer, None, LARGEST_DOSE, Interval(largest, None, None, int(observed.counted.sum())))
            reached += [(layer, dose, curve, sides) for dose in DOSES if least <= dose <= largest]
    if not reached:
        return
    changes = [curve.at(dose, sides) for _, dose, curve, sides in reached]
    for statistic, most in (("log_odds", np.inf), ("effect", 1.0)):
        intervals = weighed.behavior(np.stack([change[statistic].values for change in changes], axis=-1))
        for (layer, dose, _, _), change, interval in zip(reached, changes, intervals, strict=True):
            figure = bounded(widened(interval, change[statistic].error(weighed.weights)), -most, most)
            yield Figure(VECTOR, layer, None, score_at(statistic, dose), figure)


def _detectable(measurements: Measurements, metric: str, found: Sequence[Power]) -> Iterator[Figure]:
    for layer, power in zip(measurements.layers, found, strict=True):
        if power.detectable is not None:
            yield Figure(VECTOR, layer, None, metric, Interval(power.detectable, None, None, power.clusters))


def _of_null(measurements: Measurements, name: str, null: Null) -> Iterator[Figure]:
    for metric, values in drawn(null).items():
        yield from _by_layer(measurements, name, metric, [spread(column) for column in values.T])
    for test in tests(measurements, name):
        layer = measurements.layers[test.layer]
        for prefix, against in (("p_", test.alone), ("p_chosen_", test.chosen)):
            interval = Interval(against.p_value, None, None, against.draws)
            yield Figure(name, layer, None, prefix + test.statistic, interval)


def spread(values: NDArray[np.float64]) -> Interval:
    """The mean of values and the range of their middle 95 %, where there are enough to tell."""
    if len(values) < DRAWS:
        return Interval(float(values.mean()), None, None, len(values))
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high), len(values))


def _columns(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From ``(layers, multipliers, items)`` to ``(items, cells)``."""
    return values.reshape(-1, values.shape[-1]).T


def _by_cell(measurements: Measurements, condition: str, metric: str, intervals: Sequence[Interval]) -> list[Figure]:
    cells = [(layer, multiplier) for layer in measurements.layers for multiplier in measurements.multipliers]
    return [Figure(condition, *cell, metric, interval) for cell, interval in zip(cells, intervals, strict=True)]


def _by_layer(measurements: Measurements, condition: str, metric: str, intervals: Sequence[Interval]) -> list[Figure]:
    return [
        Figure(condition, layer, None, metric, interval)
        for layer, interval in zip(measurements.layers, intervals, strict=True)
    ]
