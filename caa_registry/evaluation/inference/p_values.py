"""p-values: against draws of a null, of paired differences, and corrected for how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.evaluation.inference.intervals import SEED, Interval, Units, weighted_means

ENOUGH = 20
"""So many draws at least as extreme as what was seen, and the answer is clear: it is nothing special."""
FLIPS = 9_999
# With so few clusters every way of turning their differences round is tried.
_ALL_FLIPS = 13


@dataclass(frozen=True)
class NullTest:
    """``p_value`` of what was seen: ``exceeding`` of the first ``draws`` of the null are at least as extreme."""

    p_value: float
    exceeding: int
    draws: int


@dataclass(frozen=True)
class PairedTest:
    """The mean difference of paired values with its interval, and the two-sided ``p_value`` of no difference."""

    difference: Interval
    p_value: float


def against_null(seen: float, drawn: NDArray[np.float64]) -> NullTest:
    """How rare a value as far from 0 as ``seen`` is among ``drawn`` ``(draws,)``, both ways, in the order drawn.

    The sequential rule of Besag and Clifford (1991): where 20 draws are at least as extreme after l of them,
    p = 20 / l, and later ones do not count; else p = (1 + k) / (1 + N). Either way the chance of p <= a is at most a
    where ``seen`` is one more draw of the null.
    """
    # What differs in rounding only counts as equal.
    extreme = np.abs(drawn) >= abs(seen) * (1 - 1e-12)
    exceeding = int(extreme.sum())
    if exceeding >= ENOUGH:
        draws = int(np.flatnonzero(extreme)[ENOUGH - 1]) + 1
        return NullTest(ENOUGH / draws, ENOUGH, draws)
    return NullTest((1 + exceeding) / (1 + len(drawn)), exceeding, len(drawn))


def paired_test(
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    units: Units | None = None,
    weights: NDArray[np.float64] | None = None,
) -> PairedTest:
    """Whether paired values, ``(n,)`` each, differ in their mean: interval of the differences and sign-flip permutation
    test (Fisher 1935) over clusters. Where ``weights`` of the items are given, it is their weighted mean, every stratum
    of ``units`` counting the same.

    Where nothing distinguishes the two, the differences of each cluster are as likely turned round. The p-value is the
    share of sign patterns whose mean is at least as far from 0 as the one seen: of all 2^n up to 13 clusters, else of
    9,999 drawn by lot and the one seen.
    """
    given = units or Units.single(len(one))
    shares = np.full(len(one), 1 / len(one)) if weights is None else weights
    sums = np.bincount(given.clusters, weights=(one - other) * shares)
    n = len(sums)
    if n <= _ALL_FLIPS:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.random.default_rng(SEED).choice([-1.0, 1.0], (FLIPS + 1, n))
        signs[0] = 1
    seen = abs(sums.sum()) - 1e-12 * np.abs(sums).sum()
    strata = int(given.strata.max()) + 1
    difference = weighted_means((one - other)[:, None], given, [1 / strata] * strata)[0]
    return PairedTest(difference, float((np.abs(signs @ sums) >= seen).mean()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected so that the chance of any false one is kept (Holm 1979): the smallest times n, the next times
    n - 1, and so on; none smaller than the one before, at most 1."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected
