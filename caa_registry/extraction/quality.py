"""How far to trust a steering vector: separation on pairs it was not made from, and how stable it is.

In high dimensions any two groups of few examples separate along a direction fitted to them, so separation on the pairs
a vector was made from says nothing and is not computed here. What is split, swapped or resampled is a cluster of pairs
with both their sides. Where sides are letters, those of one letter are compared with each other only, every letter
counts the same, and directions are fitted with either of two letters right as often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.extraction.estimators.estimator import Estimator, estimator
from caa_registry.extraction.estimators.rows import Rows, ratio, row_dots, unit_rows
from caa_registry.extraction.grouping import Grouping, halves, swaps
from caa_registry.extraction.methods import Method
from caa_registry.vectors import LayerQuality

FEWEST_CLUSTERS = 4
"""Of fewer nothing is measured."""
ENOUGH_CLUSTERS = 10
"""Of fewer it is not said whether there is a signal."""
PERMUTATIONS = 199
SPLITS = 20
SEED = 20240805
LEVEL = 0.01
# Projections that hardly vary would make it infinite, which JSON cannot hold.
MOST_COHENS_D = 1e6


def measure(
    method: Method, positive: NDArray[np.float32], negative: NDArray[np.float32], grouping: Grouping | None = None
) -> LayerQuality | None:
    """The quality of the vector that ``method`` makes from activations ``(n, d)``, row i of both from pair i, which
    ``grouping`` puts in clusters; by default each is its own.

    Computed in float64. ``None`` for fewer than 4 clusters, and where a letter is not both right and wrong in either
    half of the pairs, as where only one is ever right: nothing then tells the behavior from the letter. The seed is
    fixed: the same activations give the same numbers, and all layers of the same pairs are measured with the same
    splits and swaps.
    """
    groups = grouping or Grouping.none(len(positive))
    if len(np.unique(groups.clusters)) < FEWEST_CLUSTERS:
        return None
    sides = positive.astype(np.float64), negative.astype(np.float64)
    fit = estimator(method)
    generator = np.random.default_rng(SEED)
    first, second = halves(groups, generator)
    signs = np.ones((1 + PERMUTATIONS, len(positive)))
    # Within each half, so that letters stay as often right in both.
    for half in (first, second):
        signs[1:, half] = swaps(groups.take(half), PERMUTATIONS, generator)
    found = [_held_out(fit, sides, groups, signs, *either) for either in ((first, second), (second, first))]
    if any(separated is None for separated in found):
        return None
    auc, cohens_d = np.mean([separated for separated in found if separated], axis=0)
    clusters = len(np.unique(groups.clusters))
    p_value = float((auc >= auc[0] - 1e-12).mean())
    directions = _stable(fit, sides, groups, generator)
    shares = directions.whole**2
    dominant = int(shares.argmax())
    null_auc, null_cohens_d = (float(np.quantile(values[1:], 0.99, method="higher")) for values in (auc, cohens_d))
    return LayerQuality(
        auc=float(auc[0]),
        cohens_d=float(cohens_d[0]),
        null_auc=null_auc,
        null_auc_mean=float(auc[1:].mean()),
        null_cohens_d=null_cohens_d,
        p_value=p_value,
        signal=bool(p_value <= LEVEL) if clusters >= ENOUGH_CLUSTERS else None,
        split_half_cosine=directions.split_half,
        difference_cosine=_alignment(sides, groups),
        dominant_dimension=dominant,
        dominant_share=float(shares[dominant]),
        clusters=clusters,
    )


def _held_out(
    fit: Estimator,
    sides: tuple[Rows, Rows],
    groups: Grouping,
    signs: Rows,
    fitted: NDArray[np.intp],
    held: NDArray[np.intp],
) -> tuple[Rows, Rows] | None:
    """AUC and Cohen's d ``(k,)`` on the ``held`` pairs, under each row of ``signs``, of directions from ``fitted``.
    ``None`` where no letter is both right and wrong among them."""
    weights = groups.take(fitted).weights(signs[:, fitted])
    directions = unit_rows(fit(sides[0][fitted], sides[1][fitted], weights, signs[:, fitted]))
    projections = np.concatenate([directions @ side[held].T for side in sides], axis=1)
    right = np.concatenate([signs[:, held] > 0, signs[:, held] < 0], axis=1)
    strata = groups.strata[held].T.reshape(-1)
    aucs, sizes = [], []
    for stratum in np.unique(strata):
        here = strata == stratum
        positives = int(right[0, here].sum())
        if 0 < positives < here.sum():
            aucs.append(separation_auc(projections[:, here], right[:, here]))
            sizes.append(separation_cohens_d(projections[:, here], right[:, here]))
    return (np.mean(aucs, axis=0), np.mean(sizes, axis=0)) if aucs else None


def separation_auc(projections: Rows, right: NDArray[np.bool_]) -> Rows:
    """Of each row ``(k, m)``: P(positive > negative) + P(positive = negative) / 2 over all combinations of one that is
    ``right`` and one that is not, ``(k,)``."""
    from scipy.stats import rankdata

    positives = right.sum(axis=1)
    ranks = np.where(right, rankdata(projections, axis=1), 0.0).sum(axis=1)
    shares: Rows = (ranks - positives * (positives + 1) / 2) / (positives * (right.shape[1] - positives))
    return shares


def separation_cohens_d(projections: Rows, right: NDArray[np.bool_]) -> Rows:
    """Of each row ``(k, m)``: difference of the means of those that are ``right`` and of the others over their pooled
    standard deviation, ``(k,)``; 0 where means agree."""
    means, variances = [], []
    for side in (right, ~right):
        count = side.sum(axis=1)
        mean = np.where(side, projections, 0.0).sum(axis=1) / count
        apart = np.where(side, projections - mean[:, None], 0.0)
        means.append(mean)
        variances.append((apart**2).sum(axis=1) / np.maximum(count - 1, 1))
    difference = means[0] - means[1]
    pooled = np.sqrt((variances[0] + variances[1]) / 2)
    return ratio(difference, np.maximum(pooled, np.abs(difference) / MOST_COHENS_D))


@dataclass(frozen=True, eq=False)
class _Stability:
    split_half: float
    whole: Rows


def _stable(fit: Estimator, sides: tuple[Rows, Rows], groups: Grouping, generator: np.random.Generator) -> _Stability:
    """Mean cosine between halves, and the unit direction of all pairs ``(d,)``."""
    n = len(sides[0])
    parts = np.zeros((SPLITS, 2, n))
    for split in parts:
        for half, members in zip(split, halves(groups, generator), strict=True):
            half[members] = groups.take(members).weights(np.ones((1, len(members))))[0]
    whole = groups.weights(np.ones((1, n)))
    weights = np.concatenate([whole, parts.reshape(-1, n)])
    directions = unit_rows(fit(*sides, weights, np.ones_like(weights)))
    return _Stability(float(row_dots(directions[1::2], directions[2::2]).mean()), directions[0])


def _alignment(sides: tuple[Rows, Rows], groups: Grouping) -> float:
    """The mean cosine of pair differences to their mean, without what letters add to them: how alike pairs are, which
    predicts how well a vector steers (Braun et al. 2025)."""
    differences = sides[0] - sides[1]
    turned = np.where(groups.strata[:, 0] > groups.strata[:, 1], -1.0, 1.0)
    ordered = np.sort(groups.strata, axis=1)
    for kind in np.unique(ordered, axis=0):
        here = (ordered == kind).all(axis=1)
        either = [here & (turned == how) for how in (1, -1)]
        if kind[0] != kind[1] and all(side.any() for side in either):
            letter = (differences[either[0]].mean(axis=0) - differences[either[1]].mean(axis=0)) / 2
            differences[here] -= turned[here, None] * letter
    mean = unit_rows(differences.mean(axis=0, keepdims=True))
    return float((unit_rows(differences) @ mean[0]).mean())
