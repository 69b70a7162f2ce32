"""Scores by category, as for MMLU and TruthfulQA: each category's mean, the mean of all items and that of categories.

The paper (Rimsky et al. 2024) gives the mean of category means, in which a small category counts as much as a large
one. Per-item differences of two scores can be grouped alike: their intervals are those of paired items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.errors import InputError
from caa_registry.evaluation.intervals import RESAMPLES, SEED, Interval, bootstrap_mean

# So many numbers are drawn at a time; how many does not show in the result.
_DRAWN_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class CategoryScores:
    """``categories``: each one's mean over its ``n`` items, by name. ``items``: the mean over all items.
    ``of_means``: the mean of category means; its ``n`` are the items."""

    categories: dict[str, Interval]
    items: Interval
    of_means: Interval


def by_category(scores: NDArray[np.float64], categories: Sequence[str | None]) -> CategoryScores:
    """Per-item ``scores``, float64 ``(items,)``, grouped by the category of each, with 95 % bootstrap intervals.

    Raises ``InputError`` where there is no item, or one without a category.
    """
    if len(scores) != len(categories):
        raise ValueError(f"{len(scores)} scores, {len(categories)} categories")
    if not len(scores):
        raise InputError("there are no scores to group by category")
    without = [i for i, category in enumerate(categories) if not category]
    if without:
        raise InputError(
            f"{len(without)} of {len(scores)} items have no category, the first at {without[0] + 1}",
            "Import the dataset from a source with a category column, such as the CAA repository's MMLU.",
        )
    names = np.array(categories, dtype=object)
    groups = {str(name): scores[names == name] for name in sorted(set(names))}
    return CategoryScores(
        {name: bootstrap_mean(values) for name, values in groups.items()},
        bootstrap_mean(scores),
        _mean_of_means(list(groups.values())),
    )


def _mean_of_means(groups: Sequence[NDArray[np.float64]]) -> Interval:
    """Items are resampled within their category: which categories there are is no matter of chance."""
    generator = np.random.default_rng(SEED)
    total = np.zeros(RESAMPLES)
    for values in groups:
        rows = max(1, _DRAWN_AT_ONCE // len(values))
        for first in range(0, RESAMPLES, rows):
            part = total[first : first + rows]
            part += values[generator.integers(0, len(values), (len(part), len(values)))].mean(axis=1)
    low, high = np.percentile(total / len(groups), [2.5, 97.5])
    value = float(np.mean([values.mean() for values in groups]))
    return Interval(value, float(low), float(high), sum(len(values) for values in groups))
