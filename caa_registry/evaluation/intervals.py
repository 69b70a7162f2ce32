"""Confidence intervals by the bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
SEED = 20240805
_ROWS_AT_ONCE = 1_000


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
    means = np.concatenate(
        [values[generator.integers(0, n, (_ROWS_AT_ONCE, n))].mean(axis=1) for _ in range(RESAMPLES // _ROWS_AT_ONCE)]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high), n)
