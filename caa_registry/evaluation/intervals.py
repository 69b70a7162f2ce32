"""Confidence intervals by the bootstrap, and a test of paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
SEED = 20240805
# So many numbers are drawn at a time; how many does not show in the result.
_DRAWN_AT_ONCE = 1 << 21
# With so few pairs every way of turning their differences round is tried.
_ALL_FLIPS = 13


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval over ``n`` items."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class PairedTest:
    """The mean difference of paired values with its interval, and the two-sided ``p_value`` of no difference."""

    difference: Interval
    p_value: float


def bootstrap_mean(values: NDArray[np.float64]) -> Interval:
    """The mean of ``(n,)`` and its interval, as ``bootstrap_means`` has it."""
    return bootstrap_means(values[:, None])[0]


def bootstrap_means(values: NDArray[np.float64]) -> list[Interval]:
    """Of each column of ``(n, k)``, n >= 1, the mean and its percentile bootstrap interval (Efron 1979): rows resampled
    with replacement, 10,000 times, seeded.

    The same values give the same interval in every process, and columns are resampled together. Of a single row the
    interval is its value.
    """
    low, high = np.percentile(_resampled(values), [2.5, 97.5], axis=0)
    means, n = values.mean(axis=0), len(values)
    return [Interval(float(m), float(a), float(b), n) for m, a, b in zip(means, low, high, strict=True)]


def bootstrap_difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> list[Interval]:
    """Of each column, the mean of ``one`` ``(n, k)`` minus that of ``other`` ``(m, k)``, different items, each
    resampled on its own. ``n`` is that of both together."""
    draws = _resampled(one) - _resampled(other, seed=SEED + 1)
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    means, n = one.mean(axis=0) - other.mean(axis=0), len(one) + len(other)
    return [Interval(float(m), float(a), float(b), n) for m, a, b in zip(means, low, high, strict=True)]


def bootstrap_ratio(numerators: NDArray[np.float64], denominators: NDArray[np.float64] | NDArray[np.intp]) -> Interval:
    """``sum(numerators) / sum(denominators)``, ``(n,)`` each, and its interval: items resampled with both."""
    draws = _resampled(np.stack([numerators, denominators], axis=1).astype(np.float64))
    low, high = np.percentile(draws[:, 0] / draws[:, 1], [2.5, 97.5])
    return Interval(float(numerators.sum() / denominators.sum()), float(low), float(high), len(numerators))


def bootstrap_mean_of_means(groups: Sequence[NDArray[np.float64]]) -> Interval:
    """The mean of the groups' means and its interval: items are resampled within their group, since which groups there
    are is not a matter of chance. ``n`` counts items."""
    draws = np.mean([_resampled(group[:, None], seed=SEED + i)[:, 0] for i, group in enumerate(groups)], axis=0)
    low, high = np.percentile(draws, [2.5, 97.5])
    value = float(np.mean([group.mean() for group in groups]))
    return Interval(value, float(low), float(high), sum(len(group) for group in groups))


def paired_test(one: NDArray[np.float64], other: NDArray[np.float64]) -> PairedTest:
    """Whether paired values, ``(n,)`` each, differ in their mean: bootstrap interval of the differences and sign-flip
    permutation test (Fisher 1935).

    Where nothing distinguishes the two, each difference is as likely turned round. The p-value is the share of sign
    patterns whose mean is at least as far from 0 as the one seen: of all 2^n up to 13 pairs, else of 10,000 drawn by
    lot and the one seen.
    """
    differences = one - other
    n = len(differences)
    if n <= _ALL_FLIPS:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.random.default_rng(SEED).choice([-1.0, 1.0], (RESAMPLES + 1, n))
        signs[0] = 1
    means = np.abs(signs @ differences)
    # What differs in rounding only counts as equal.
    seen = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
    return PairedTest(bootstrap_mean(differences), float((means >= seen).mean()))


def _resampled(values: NDArray[np.float64], seed: int = SEED) -> NDArray[np.float64]:
    """Means of resampled rows, ``(10,000, k)``."""
    generator = np.random.default_rng(seed)
    n = len(values)
    rows = max(1, _DRAWN_AT_ONCE // n)
    means = np.empty((RESAMPLES, values.shape[1]))
    for first in range(0, RESAMPLES, rows):
        part = means[first : first + rows]
        drawn = generator.integers(0, n, (len(part), n)) + n * np.arange(len(part))[:, None]
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        part[:] = counts @ values / n
    return means
