"""What the vectors of a null did at each multiplier that they were measured at: its extremes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caa_registry.registry.reports.content import EvaluationContent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from caa_registry.evaluation.inference.intervals import Interval


def null_intervals(shown: EvaluationContent, name: str) -> dict[float, Interval]:
    """By multiplier the mean propensity under a null's vectors at the layer that is shown, and the middle 95 % of them
    where they are enough to tell; every letter counts the same. Empty where it was not measured, or items were not
    kept."""
    from caa_registry.evaluation.statistics import spread

    if shown.measured is None or name not in shown.measured.nulls:
        return {}
    null, place = shown.measured.nulls[name], shown.measured.layers.index(shown.layer)
    return {multiplier: spread(null.propensity[:, place, i]) for i, multiplier in enumerate(null.multipliers)}


def outside_null(shown: EvaluationContent) -> NDArray[np.bool_] | None:
    """By layer and multiplier whether the vector's whole interval is outside the middle 95 % of its null, where every
    letter counts the same in both; ``False`` where the null was not measured. ``None`` where that cannot be told
    anywhere."""
    import numpy as np

    from caa_registry.evaluation.letters import contrasts
    from caa_registry.evaluation.statistics import spread

    measured = shown.measured
    null = measured.nulls.get(shown.evaluation.null or "") if measured else None
    if measured is None or null is None or not measured.vector.counted.any():
        return None
    weighed = contrasts(measured.vector)
    steps = [measured.multipliers.index(multiplier) for multiplier in null.multipliers]
    own = measured.vector.propensity[:, steps][..., weighed.counted]
    cells = weighed.behavior(own.reshape(-1, own.shape[-1]).T)
    others = [spread(column) for column in null.propensity.reshape(len(null.propensity), -1).T]
    if all(each.low is None for each in others):
        return None
    found = np.zeros((len(measured.layers), len(measured.multipliers)), bool)
    apart = [_apart(cell, other) for cell, other in zip(cells, others, strict=True)]
    found[:, steps] = np.array(apart).reshape(len(measured.layers), len(steps))
    return found


def _apart(one: Interval, other: Interval) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low > other.high or one.high < other.low
