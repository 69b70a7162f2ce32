"""What a vector does from the lowest to the highest multiplier, against what vectors that mean nothing do.

The statistics are those of the extremes alone: the slope of the log-odds between them, and the change of propensity,
every letter counting the same. Where a layer is chosen because it is largest there, the largest of all layers is what
every draw is compared by (Westfall & Young 1993).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.evaluation.inference.p_values import ENOUGH, NullTest, against_null
from caa_registry.evaluation.letters import contrasts
from caa_registry.evaluation.measurements import Measurements, Null, Observed
from caa_registry.evaluation.propensity import propensity_of

STATISTICS = ("steerability", "effect")


@dataclass(frozen=True)
class LayerTest:
    """The test of ``statistic`` at the place ``layer`` among the layers. ``alone``: of that layer, had it been named
    beforehand; ``chosen``: as one of all layers, of which the largest was chosen."""

    statistic: str
    layer: int
    alone: NullTest
    chosen: NullTest


def seen(observed: Observed, multipliers: tuple[float, ...]) -> dict[str, NDArray[np.float64]]:
    """The statistics of what was observed at ``multipliers``, ``(layers,)`` each."""
    weighed = contrasts(observed)
    odds, propensity = (
        (values[:, -1][:, weighed.counted] - values[:, 0][:, weighed.counted]) @ weighed.weights
        for values in (observed.log_odds, observed.propensity)
    )
    return {"steerability": odds / (multipliers[-1] - multipliers[0]), "effect": propensity}


def drawn(null: Null) -> dict[str, NDArray[np.float64]]:
    """The same of every vector of a null, ``(draws, layers)`` each."""
    odds, propensity = (values[..., -1] - values[..., 0] for values in (null.log_odds, null.propensity))
    return {"steerability": odds / (null.multipliers[-1] - null.multipliers[0]), "effect": propensity}


def enough(observed: Observed, multipliers: tuple[float, ...], null: Null) -> bool:
    """Whether more draws would change nothing: at every layer, and so over all, 20 are as extreme as what was seen."""
    own, others = seen(observed, multipliers), drawn(null)
    for statistic in STATISTICS:
        if ((np.abs(others[statistic]) >= np.abs(own[statistic])).sum(axis=0) < ENOUGH).any():
            return False
    return True


def tests(measured: Measurements, name: str) -> Iterator[LayerTest]:
    """The tests against a null, statistic by statistic and layer by layer."""
    own, others = seen(measured.vector, measured.multipliers), drawn(measured.nulls[name])
    for statistic in STATISTICS:
        largest = np.abs(others[statistic]).max(axis=1)
        for layer, value in enumerate(own[statistic]):
            yield LayerTest(
                statistic,
                layer,
                against_null(float(value), others[statistic][:, layer]),
                against_null(float(value), largest),
            )


def null_of(
    log_p: NDArray[np.float64], observed: Observed, multipliers: tuple[float, ...], lengths: tuple[float, ...]
) -> Null:
    """A null of log-probabilities ``(vectors, layers, multipliers, items, 2)`` of the items of ``observed``."""
    weighed = contrasts(observed)
    counted = log_p[..., weighed.counted, :]
    propensity = propensity_of(counted[..., 0], counted[..., 1]) @ weighed.weights
    log_odds = (counted[..., 0] - counted[..., 1]) @ weighed.weights
    return Null(propensity, log_odds, multipliers, lengths)
