"""Shares of items of which something holds, and their 95 % intervals (Wilson 1927)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caa_registry.evaluation.inference.intervals import FEWEST_CLUSTERS, Interval, Units, standard_errors

_Z = 1.959963984540054


def share(holds: NDArray[np.bool_], units: Units | None = None) -> Interval:
    """The share of items of which ``holds`` is true, ``(n,)``, and Wilson's interval, which has a length at 0 and 1.

    Items that come in clusters count as so many independent ones as would have their standard error, at most ``n``;
    where all agree, as many as there are clusters. No interval below 5 clusters.
    """
    given = units or Units.single(len(holds))
    whole = Units(given.clusters, np.zeros_like(given.clusters))
    n, value = len(holds), float(holds.mean())
    if whole.count < FEWEST_CLUSTERS:
        return Interval(value, None, None, n)
    error = float(standard_errors(holds[:, None].astype(np.float64), whole, [1.0])[0])
    # The standard error is that of a sample, which is larger than that of a known share.
    sample = whole.count / (whole.count - 1)
    effective = min(sample * value * (1 - value) / error**2, float(n)) if error > 0 else float(whole.count)
    return wilson(value, effective, n)


def wilson(value: float, effective: float, n: int) -> Interval:
    """The interval of a share ``value`` of ``effective`` independent items."""
    scale = 1 + _Z**2 / effective
    centre = (value + _Z**2 / (2 * effective)) / scale
    half = _Z / scale * np.sqrt(value * (1 - value) / effective + _Z**2 / (4 * effective**2))
    # At 0 and 1 the bound is the value itself, which rounding may miss.
    low = 0.0 if value == 0 else max(0.0, float(centre - half))
    high = 1.0 if value == 1 else min(1.0, float(centre + half))
    return Interval(value, low, high, n)
