"""95 % intervals of means whose items come in clusters, and may be weighted by stratum.

Items of a cluster (one question asked twice, or nearly the same one) are no independent evidence, so that clusters are
what varies by chance. Every figure here is a weighted sum of ratios of sums, ``sum_s w_s * sum_i(y) / sum_i(x)`` over
the items of stratum s: a mean, a difference of means, a mean of means, a number per token. Near its value it is a sum
over clusters (its linearization; Binder 1983), of which one interval is made in one way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caa_registry.display.records import Record

RESAMPLES = 4_999
SEED = 20240805
FEWEST_CLUSTERS = 5
"""Of fewer there is no interval: nothing bounds how far off their mean may be."""
METHOD = "95 %, the wider of Student's t and bootstrap-t, over {}"
"""What is recorded of how intervals are made, of whatever units."""

# So many numbers are drawn at a time; how many does not show in the result.
_DRAWN_AT_ONCE = 1 << 21
_TAIL = 0.025
# An error that is so much smaller than that of all clusters is rounding, and a difference so much smaller, squared.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Interval(Record):
    """A value with its 95 % interval, over ``n`` items. ``low`` and ``high`` are ``None`` where the items come in fewer
    than 5 clusters."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, eq=False)
class Units:
    """Which items belong together. ``clusters``: of each item the number of its cluster, int ``(items,)``, from 0 on.
    ``strata``: alike, of what is weighted on its own; by default all are one."""

    clusters: NDArray[np.intp]
    strata: NDArray[np.intp]

    @classmethod
    def of(cls, clusters: ArrayLike, strata: ArrayLike | None = None) -> Units:
        """From labels of any kind, one of each item."""
        numbers = np.unique(np.asarray(clusters), return_inverse=True)[1]
        layers = np.zeros_like(numbers) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
        return cls(numbers, layers)

    @classmethod
    def single(cls, items: int) -> Units:
        """Every item on its own."""
        return cls(np.arange(items), np.zeros(items, np.intp))

    @property
    def count(self) -> int:
        """How many clusters there are."""
        return int(self.clusters.max(initial=-1)) + 1

    def take(self, kept: NDArray[np.bool_] | Sequence[int]) -> Units:
        """Of some items only."""
        return Units.of(self.clusters[kept], self.strata[kept])


def mean(values: NDArray[np.float64], units: Units | None = None) -> Interval:
    """The mean of ``(n,)`` and its interval."""
    return means(values[:, None], units)[0]


def means(values: NDArray[np.float64], units: Units | None = None) -> list[Interval]:
    """The mean of each column of ``(n, k)``, n >= 1, and its interval. By default every row is a cluster of its own."""
    given = units or Units.single(len(values))
    return weighted_ratios(values, np.ones(len(values)), Units(given.clusters, np.zeros_like(given.clusters)), [1.0])


def weighted_means(values: NDArray[np.float64], units: Units, weights: Sequence[float]) -> list[Interval]:
    """Of each column of ``(n, k)`` the means of the strata times ``weights``, summed. With 1/2 and 1/2 both count the
    same, however many items they have; with 1/2 and -1/2 it is half their difference."""
    return weighted_ratios(values, np.ones(len(values)), units, weights)


def ratio(numerators: NDArray[np.float64], denominators: ArrayLike, units: Units | None = None) -> Interval:
    """``sum(numerators) / sum(denominators)``, ``(n,)`` each, and its interval."""
    given = units or Units.single(len(numerators))
    return weighted_ratios(numerators[:, None], np.asarray(denominators, np.float64), given, [1.0])[0]


def weighted_ratios(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], units: Units, weights: Sequence[float]
) -> list[Interval]:
    """Of each column of ``numerators`` ``(n, k)`` the sum over strata of ``weights`` times the ratio of sums, with its
    interval.

    It is from the lower of the lower bounds to the higher of the upper bounds of Student's t and of the bootstrap-t
    (Efron & Tibshirani 1993, chapter 12; 4,999 resamples, seeded). Of means of skewed values the first falls short on
    one side and the second mends that; where values hardly vary the second is arbitrary and the first is not. Clusters
    are resampled within those that have items in the same strata, so that each stratum keeps its size.

    ``None`` for both bounds where there are fewer than 5 clusters, where a stratum has one cluster only, and where so
    many values agree that resamples often hold nothing else: then nothing tells how far the others may lie. The same
    values give the same interval in every process.
    """
    values, influence = _linearized(numerators, denominators, units, np.asarray(weights, np.float64))
    n = len(numerators)
    sizes = [len(np.unique(units.clusters[units.strata == stratum])) for stratum in range(len(weights))]
    if units.count < FEWEST_CLUSTERS or min(sizes) < 2:
        return [Interval(float(value), None, None, n) for value in values]
    low, high = _bounds(influence, _kinds(units))
    return [
        Interval(float(value), None, None, n)
        if np.isnan(a)
        else Interval(float(value), float(value + a), float(value + b), n)
        for value, a, b in zip(values, low, high, strict=True)
    ]


def standard_errors(values: NDArray[np.float64], units: Units, weights: Sequence[float]) -> NDArray[np.float64]:
    """Of each column of ``(n, k)`` the standard error of what ``weighted_means`` gives, ``(k,)``."""
    _, influence = _linearized(values, np.ones(len(values)), units, np.asarray(weights, np.float64))
    return _standard_error(influence, _kinds(units))


def bounded(interval: Interval, low: float, high: float) -> Interval:
    """An interval of what cannot lie beyond ``low`` and ``high``."""
    if interval.low is None or interval.high is None:
        return interval
    return Interval(interval.value, max(low, interval.low), min(high, interval.high), interval.n)


def _linearized(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], units: Units, weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values ``(k,)``, and by cluster how far it moves each of them, ``(clusters, k)``, which sum to 0."""
    values = np.zeros(numerators.shape[1])
    influence = np.zeros((units.count, numerators.shape[1]))
    for stratum, weight in enumerate(weights):
        here = units.strata == stratum
        total = denominators[here].sum()
        level = numerators[here].sum(axis=0) / total
        values += weight * level
        apart = numerators[here] - level * denominators[here, None]
        # What rounding leaves of equal values is no difference.
        apart[np.abs(apart) <= _ROUNDING**2 * np.abs(numerators[here])] = 0
        moved = weight * apart / total
        # Few clusters vary about their own mean less than about the true one; more are resampled among themselves, and
        # their error is corrected there.
        m = len(np.unique(units.clusters[here]))
        if 1 < m < FEWEST_CLUSTERS:
            moved *= np.sqrt(m / (m - 1))
        np.add.at(influence, units.clusters[here], moved)
    return values, influence


def _kinds(units: Units) -> list[NDArray[np.intp]]:
    """Clusters by the strata that they have items in. Those of a kind that has fewer than 5 are taken together."""
    present = np.zeros((units.count, int(units.strata.max(initial=0)) + 1), bool)
    present[units.clusters, units.strata] = True
    labels = np.unique(present, axis=0, return_inverse=True)[1].reshape(-1)
    kinds = [np.flatnonzero(labels == label) for label in range(labels.max(initial=-1) + 1)]
    kinds.sort(key=len)
    few = [kind for kind in kinds if len(kind) < FEWEST_CLUSTERS]
    many = kinds[len(few) :]
    if not few:
        return many
    rest = np.sort(np.concatenate(few))
    if len(rest) >= FEWEST_CLUSTERS or not many:
        return [rest, *many]
    return [np.sort(np.concatenate([rest, many[0]])), *many[1:]]


def _bounds(
    influence: NDArray[np.float64], kinds: Sequence[NDArray[np.intp]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far below and above the values their intervals reach, ``(k,)`` each; NaN where that cannot be told."""
    error = _standard_error(influence, kinds)
    student = _student(sum(len(kind) - 1 for kind in kinds)) * error
    moved, squared = (np.zeros((RESAMPLES, influence.shape[1])) for _ in range(2))
    for place, kind in enumerate(kinds):
        own = influence[kind] - influence[kind].mean(axis=0)
        for rows, counts in _resamples(len(kind), SEED + place):
            sums = counts @ own
            moved[rows] += sums
            squared[rows] += (counts @ own**2 - sums**2 / len(kind)) * (len(kind) / (len(kind) - 1))
    # A resample of equal values has no error to be measured in; what rounding leaves of it is none either.
    equal = squared <= (_ROUNDING * error) ** 2
    studentized = np.divide(moved, np.sqrt(np.maximum(squared, 0.0)), out=np.zeros_like(moved), where=~equal)
    low, high = np.quantile(studentized, [_TAIL, 1 - _TAIL], axis=0)
    # Where nothing varies at all there is nothing to resample.
    unknown = (equal.mean(axis=0) > _TAIL) & (error > 0)
    bounds = np.minimum(-student, -high * error), np.maximum(student, -low * error)
    return np.where(unknown, np.nan, bounds[0]), np.where(unknown, np.nan, bounds[1])


def _standard_error(influence: NDArray[np.float64], kinds: Sequence[NDArray[np.intp]]) -> NDArray[np.float64]:
    variance = np.zeros(influence.shape[1])
    for kind in kinds:
        if len(kind) > 1:
            variance += influence[kind].var(axis=0, ddof=1) * len(kind)
    return np.sqrt(variance)


def _resamples(clusters: int, seed: int) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """How often each cluster is drawn, with replacement: slices of the resamples, and counts ``(rows, clusters)``."""
    generator = np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // clusters)
    for first in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - first)
        drawn = generator.integers(0, clusters, (count, clusters)) + clusters * np.arange(count)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        yield slice(first, first + count), counts.astype(np.float64)


@cache
def _student(freedom: int) -> float:
    """The 97.5th percentile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - _TAIL))
