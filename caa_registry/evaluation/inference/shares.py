"""Shares of items of which something holds, and their 95 % intervals (Wilson 1927)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caa_registry.evaluation.inference.intervals import FEWEST_CLUSTERS, Interval, Units, standard_errors

_Z = 1.959963984540054


def shares(holds: NDArray[np.bool_], units: Units | None = None) -> list[Interval]:
    """Of each column of ``holds`` ``(n, k)`` the share of items of which it is true, and Wilson's interval, which has a
    length at 0 and 1.

    Items that come in clusters count as so many independent ones as would have their standard error, at most ``n``;
    where all agree, as many as there are clusters. No interval below 5 clusters.
    """
    given = units or Units.single(len(holds))
    whole = Units(given.clusters, np.zeros_like(given.clusters))
    n, values = len(holds), holds.mean(axis=0).tolist()
    if whole.count < FEWEST_CLUSTERS:
        return [Interval(value, None, None, n) for value in values]
    errors = standard_errors(holds.astype(np.float64), whole, [1.0]).tolist()
    return [
        wilson(value, _effective(value, error, whole.count, n), n) for value, error in zip(values, errors, strict=True)
    ]


def _effective(value: float, error: float, clusters: int, n: int) -> float:
    """How many independent items would have the standard error ``error``."""
    if error <= 0:
        return float(clusters)
    # The standard error is that of a sample, which is larger than that of a known share.
    sample = clusters / (clusters - 1)
    return min(sample * value * (1 - value) / error**2, float(n))


def wilson(value: float, effective: float, n: int) -> Interval:
    """The interval of a share ``value`` of ``effective`` independent items."""
    scale = 1 + _Z**2 / effective
    centre = (value + _Z**2 / (2 * effective)) / scale
    half = _Z / scale * np.sqrt(value * (1 - value) / effective + _Z**2 / (4 * effective**2))
    # At 0 and 1 the bound is the value itself, which rounding may miss.
    low = 0.0 if value == 0 else max(0.0, float(centre - half))
    high = 1.0 if value == 1 else min(1.0, float(centre + half))
    return Interval(value, low, high, n)
