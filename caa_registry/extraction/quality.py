"""How far to trust a steering vector: separation on pairs it was not made from, and how stable it is.

In high dimensions any two groups of few examples separate along a direction fitted to them, so separation on the pairs
a vector was made from says nothing and is not computed here. Every number is of pairs: what is split, permuted or
resampled is a pair with both its sides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caa_registry.extraction.estimators.estimator import Estimator, estimator
from caa_registry.extraction.estimators.rows import Rows, ratio, row_dots, unit_rows
from caa_registry.extraction.methods import Method
from caa_registry.vectors import LayerQuality

FEWEST_PAIRS = 4
PERMUTATIONS = 200
RESAMPLES = 200
SPLITS = 20
SEED = 20240805
# Projections that hardly vary would make it infinite, which JSON cannot hold.
MOST_COHENS_D = 1e6


def measure(method: Method, positive: NDArray[np.float32], negative: NDArray[np.float32]) -> LayerQuality | None:
    """The quality of the vector that ``method`` makes from activations ``(n, d)``, row i of both from pair i.

    Computed in float64. ``None`` for fewer than 4 pairs. The seed is fixed: the same activations give the same numbers,
    and all layers of the same pairs are measured with the same splits, permutations and resamples.
    """
    n = len(positive)
    if n < FEWEST_PAIRS:
        return None
    sides = positive.astype(np.float64), negative.astype(np.float64)
    fit = estimator(method)
    generator = np.random.default_rng(SEED)
    first, second = np.array_split(generator.permutation(n), 2)
    signs = generator.choice([-1.0, 1.0], (1 + PERMUTATIONS, n))
    signs[0] = 1
    auc, cohens_d = np.mean(
        [_held_out(fit, sides, signs, *halves) for halves in ((first, second), (second, first))], axis=0
    )
    null_auc, null_cohens_d = (float(np.percentile(values[1:], 99, method="higher")) for values in (auc, cohens_d))
    split_half, bootstrap, direction = _stability(fit, sides, generator)
    shares = direction**2
    dominant = int(shares.argmax())
    return LayerQuality(
        auc=float(auc[0]),
        cohens_d=float(cohens_d[0]),
        null_auc=null_auc,
        null_auc_mean=float(auc[1:].mean()),
        null_cohens_d=null_cohens_d,
        signal=bool(auc[0] > null_auc),
        split_half_cosine=split_half,
        bootstrap_cosine=bootstrap,
        dominant_dimension=dominant,
        dominant_share=float(shares[dominant]),
    )


def _held_out(
    fit: Estimator, sides: tuple[Rows, Rows], signs: Rows, fitted: NDArray[np.int64], held: NDArray[np.int64]
) -> tuple[Rows, Rows]:
    """AUC and Cohen's d ``(k,)`` on the ``held`` pairs, under each row of ``signs``, of directions from ``fitted``."""
    every = np.ones((len(signs), len(fitted)))
    directions = unit_rows(fit(sides[0][fitted], sides[1][fitted], every, signs[:, fitted]))
    high, low = (directions @ side[held].T for side in sides)
    kept = signs[:, held] > 0
    positive, negative = np.where(kept, high, low), np.where(kept, low, high)
    return separation_auc(positive, negative), separation_cohens_d(positive, negative)


def separation_auc(positive: Rows, negative: Rows) -> Rows:
    """Of each row ``(k, n)``: P(positive > negative) + P(positive = negative) / 2 over all combinations, ``(k,)``."""
    below = [
        np.searchsorted(ordered, row, "left").sum() + np.searchsorted(ordered, row, "right").sum()
        for row, ordered in zip(positive, np.sort(negative, axis=1), strict=True)
    ]
    shares: Rows = np.array(below) / (2 * positive.shape[1] * negative.shape[1])
    return shares


def separation_cohens_d(positive: Rows, negative: Rows) -> Rows:
    """Of each row ``(k, n)``: difference of means over the pooled standard deviation, ``(k,)``; 0 where means agree."""
    difference = positive.mean(axis=1) - negative.mean(axis=1)
    pooled = np.sqrt((positive.var(axis=1, ddof=1) + negative.var(axis=1, ddof=1)) / 2)
    divisor = np.maximum(pooled, np.abs(difference) / MOST_COHENS_D)
    return ratio(difference, divisor)


def _stability(fit: Estimator, sides: tuple[Rows, Rows], generator: np.random.Generator) -> tuple[float, float, Rows]:
    """Mean cosine between halves, cosine that 95 % of resamples reach, and the unit direction of all pairs ``(d,)``."""
    n = len(sides[0])
    halves = np.zeros((SPLITS, 2, n))
    for split in halves:
        for half, members in zip(split, np.array_split(generator.permutation(n), 2), strict=True):
            half[members] = 1
    drawn = generator.integers(0, n, (RESAMPLES, n))
    resamples = [np.bincount(row, minlength=n) for row in drawn]
    weights = np.concatenate([np.ones((1, n)), halves.reshape(-1, n), resamples])
    directions = unit_rows(fit(*sides, weights, np.ones_like(weights)))
    pieces = directions[1 : 1 + 2 * SPLITS]
    split_half = row_dots(pieces[0::2], pieces[1::2]).mean()
    bootstrap = np.percentile(directions[1 + 2 * SPLITS :] @ directions[0], 5)
    return float(split_half), float(bootstrap), directions[0]
