"""How much is enough: the smallest mean that the items at hand would show, and how many would show a given one.

A two-sided 5 % test of a mean over m clusters shows a true mean of (t_.975 + t_.8) standard errors in 80 of 100 such
samples, t with m - 1 degrees of freedom (Bloom 1995). The standard error is that of the interval, with clusters of
items as what varies by chance (Miller 2024).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.display.records import Record
from caa_registry.evaluation.inference.intervals import FEWEST_CLUSTERS, Interval, Units, standard_errors

LEVEL = 0.05
POWER = 0.8
# An interval that is so many times as wide as Student's is not of values that Student's test is for.
_SKEWED = 1.5
# Beyond so many the answer is that nobody has them.
_MOST_CLUSTERS = 10**7


@dataclass(frozen=True)
class Power(Record):
    """What ``items`` in ``clusters`` can show. ``detectable``: the smallest true mean that would be found with 80 %
    power, ``None`` where there is no interval, where nothing varies, and where values are so skewed that the interval
    is half as wide again as Student's, or more. ``needed``: about how many clusters would show a mean as large as the
    one seen, ``None`` also where it is 0 or 10 million would not do."""

    items: int
    clusters: int
    detectable: float | None
    needed: int | None


def powers(
    intervals: Sequence[Interval], values: NDArray[np.float64], units: Units, weights: Sequence[float]
) -> list[Power]:
    """Of each column of ``values`` ``(n, k)`` what its items can show. ``intervals``: what ``weighted_means`` gives of
    them."""
    errors, clusters = standard_errors(values, units, weights), units.count
    return [
        Power(interval.n, clusters, None, None)
        if interval.low is None or interval.high is None or error == 0 or _skewed(interval, float(error), clusters)
        else Power(
            interval.n,
            clusters,
            detectable(float(error), clusters),
            needed(float(error), clusters, interval.value),
        )
        for interval, error in zip(intervals, errors, strict=True)
    ]


def _skewed(interval: Interval, error: float, clusters: int) -> bool:
    from scipy.special import stdtrit

    assert interval.low is not None and interval.high is not None
    return interval.high - interval.low > _SKEWED * 2 * float(stdtrit(clusters - 1, 1 - LEVEL / 2)) * error


def detectable(error: float, clusters: int) -> float:
    """The smallest true mean that ``clusters``, at least two, would show where its standard error is ``error``."""
    from scipy.special import stdtrit

    freedom = clusters - 1
    return float(stdtrit(freedom, 1 - LEVEL / 2) + stdtrit(freedom, POWER)) * error


def needed(error: float, clusters: int, mean: float) -> int | None:
    """How many clusters, at least 5, would show ``mean``, where ``clusters`` give the standard error ``error`` and more
    of them vary alike."""

    def shows(count: int) -> bool:
        return detectable(error * math.sqrt(clusters / count), count) <= abs(mean)

    if not shows(_MOST_CLUSTERS):
        return None
    few, many = FEWEST_CLUSTERS - 1, _MOST_CLUSTERS
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if shows(middle) else (middle, many)
    return many
