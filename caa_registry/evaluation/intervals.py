"""Confidence intervals by the bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
SEED = 20240805
# So many numbers are drawn at a time; how many does not show in the result.
_DRAWN_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval over ``n`` items."""

    value: float
    low: float
    high: float
    n: int


def bootstrap_mean(values: NDArray[np.float64]) -> Interval:
    """The mean and its percentile bootstrap interval (Efron 1979), items resampled with replacement, seeded.

    The same values give the same interval in every process. Of a single value the interval is the value.
    """
    generator = np.random.default_rng(SEED)
    n = len(values)
    rows = max(1, _DRAWN_AT_ONCE // n)
    means = np.empty(RESAMPLES)
    for first in range(0, RESAMPLES, rows):
        part = means[first : first + rows]
        part[:] = values[generator.integers(0, n, (len(part), n))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high), n)
