"""Two vectors, or one at two layers, on the same items: at the same dose, or at the same multipliers where doses were
not measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from caa_registry.display.records import Record
from caa_registry.errors import NoCommonDoseError, UsageError
from caa_registry.evaluation.doses.common import common_dose
from caa_registry.evaluation.doses.equal import dose_curves, widened
from caa_registry.evaluation.doses.ladder import DoseSides
from caa_registry.evaluation.inference.intervals import Interval
from caa_registry.evaluation.inference.p_values import holm, paired_test
from caa_registry.evaluation.letters import contrasts
from caa_registry.evaluation.measurements import VECTOR, Measurements, Observed
from caa_registry.evaluation.statistics import effects, steerability
from caa_registry.wording import ranges


@dataclass(frozen=True)
class Compared(Record):
    """One statistic of two measurements of the same items.

    ``dose``: nats per token on the common items, at which ``effect`` and ``log_odds`` are taken, of ``sides``; ``None``
    where it was not measured, and ``effect`` and ``steerability`` are of the multipliers that both have.
    ``difference``: of ``one`` minus ``other``, paired by item, its interval widened by the error of interpolating
    (``doses.equal``). ``p_value``: of a difference beyond that error, two-sided sign-flip permutation test; ``p_holm``
    is corrected for all comparisons made together (Holm 1979). ``clusters``: how many clusters of items it rests on.
    """

    _columns: ClassVar = "metric layer other_layer dose one other difference p_value p_holm"

    metric: str
    layer: int
    other_layer: int
    dose: float | None
    sides: DoseSides | None
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
    dose: float | None = None,
) -> list[Compared]:
    """What ``one`` and ``other`` do at each pair of ``layers`` (default: each that both have with itself).

    At one dose: ``dose``, else of each pair of layers the largest of ``DOSES`` that both reach, on both sides of 0, or
    on the one that both have. Layers that share no dose are left out where several are compared. Where the dose of
    either was not measured, as by earlier releases, at the multipliers that both have.

    ``items``: places of the items that are the same in both. Items that the paper counts as 0 are left out. Raises
    ``UsageError`` where there is no common item or no such layer, where ``dose`` was not measured or is not above 0,
    and for fewer than two common multipliers where they are compared; ``NoCommonDoseError`` where no layers share a
    dose.
    """
    if one.metric != other.metric:
        raise UsageError(f"one is scored by {one.metric}, the other by {other.metric}", "Choose comparable datasets.")
    counted = [(a, b) for a, b in items if one.vector.counted[a] and other.vector.counted[b]]
    if not counted:
        raise UsageError("the two have no question in common", "Evaluate both on the same dataset and split.")
    pairs = layers or [(layer, layer) for layer in one.layers if layer in other.layers]
    if not pairs:
        raise UsageError("the two have no layer in common", "Name a layer of each.")
    for measured, numbers in ((one, [a for a, _ in pairs]), (other, [b for _, b in pairs])):
        for layer in numbers:
            if layer not in measured.layers:
                raise UsageError(f"layer {layer} was not evaluated", f"Layers: {ranges(list(measured.layers))}.")
    if dose is not None and not 0 < dose < np.inf:
        raise UsageError(f"{dose} is not a dose", "Give nats per token, above 0, such as 0.1.")
    first, second = (_of_items(each, [pair[side] for pair in counted]) for side, each in enumerate((one, other)))
    dosed = first.vector.kl is not None and second.vector.kl is not None
    if dose is not None and not dosed:
        raise UsageError(
            "the dose was not measured in one of the two, or in neither",
            "Evaluate again (caa eval propensity), or leave --dose out to compare at equal multipliers.",
        )
    comparisons = list(_at_doses(first, second, pairs, dose) if dosed else _at_multipliers(first, second, pairs))
    corrected = holm([compared.p_value for compared in comparisons])
    return [replace(compared, p_holm=p) for compared, p in zip(comparisons, corrected, strict=True)]


def _at_doses(
    one: Measurements, other: Measurements, pairs: Sequence[tuple[int, int]], dose: float | None
) -> Iterator[Compared]:
    curves = [
        dict(zip(each.layers, dose_curves(each.vector, each.multipliers) or (), strict=True)) for each in (one, other)
    ]
    apart: list[NoCommonDoseError] = []
    for layer, other_layer in pairs:
        first, second = curves[0][layer], curves[1][other_layer]
        try:
            at, sides = common_dose(
                first, second, dose, (f"the first at layer {layer}", f"the second at layer {other_layer}")
            )
        except NoCommonDoseError as error:
            apart.append(error)
            continue
        weights = contrasts(one.vector).weights
        changes = first.at(at, sides), second.at(at, sides)
        for metric in ("log_odds", "effect"):
            values = changes[0][metric].values, changes[1][metric].values
            off = sum(change[metric].error(weights) for change in changes)
            yield _compared(one.vector, metric, (layer, other_layer), values, at, sides, off)
    if len(apart) == len(pairs):
        raise apart[0]


def _at_multipliers(one: Measurements, other: Measurements, pairs: Sequence[tuple[int, int]]) -> Iterator[Compared]:
    multipliers = [multiplier for multiplier in one.multipliers if multiplier in other.multipliers]
    if len(multipliers) < 2:
        raise UsageError(
            "the dose was not measured in both, and the two have fewer than two multipliers in common",
            "Evaluate again (caa eval propensity) for an equal dose, or both at the same multipliers, as -1,0,1.",
        )
    slopes, changes = [], []
    for each in (one, other):
        observed = _at_steps(each.vector, [each.multipliers.index(multiplier) for multiplier in multipliers])
        slopes.append(dict(zip(each.layers, steerability(observed, multipliers), strict=True)))
        changes.append(dict(zip(each.layers, effects(observed), strict=True)))
    for layer, other_layer in pairs:
        for metric, (of_one, of_other) in (("steerability", slopes), ("effect", changes)):
            yield _compared(one.vector, metric, (layer, other_layer), (of_one[layer], of_other[other_layer]))


def _compared(
    observed: Observed,
    metric: str,
    layers: tuple[int, int],
    values: tuple[NDArray[np.float64], NDArray[np.float64]],
    dose: float | None = None,
    sides: DoseSides | None = None,
    off: float = 0.0,
) -> Compared:
    """``values``: of each item of ``observed`` and its counterpart. ``off``: by how much their mean difference may be
    wrong for another reason than chance."""
    weighed = contrasts(observed)
    one, other = (float(value @ weighed.weights) for value in values)
    difference = weighed.behavior((values[0] - values[1])[:, None])[0]
    # A difference that this explains is none; of a larger one the rest is tested.
    explained = min(max(difference.value, -off), off)
    p_value = paired_test(values[0] - explained, values[1], weighed.units, weighed.weights).p_value
    interval, clusters = widened(difference, off), weighed.units.count
    return Compared(metric, *layers, dose, sides, one, other, interval, p_value, p_value, clusters)


def _of_items(measured: Measurements, items: Sequence[int]) -> Measurements:
    """What was measured of the vector, with some items only, in this order."""
    vector, kept = measured.vector, list(items)
    observed = Observed(
        tuple(vector.rows[i] for i in kept),
        tuple(vector.letters[i] for i in kept),
        vector.log_p[:, :, kept],
        tuple(vector.clusters[i] for i in kept),
        None if vector.kl is None else vector.kl[..., kept],
    )
    return replace(measured, observed={VECTOR: observed}, nulls={})


def _at_steps(observed: Observed, steps: Sequence[int]) -> Observed:
    return replace(observed, log_p=observed.log_p[:, list(steps)], kl=None, answers_first=None)
