"""Scores by category, as for MMLU and TruthfulQA: each category's mean, the mean over items and the mean of categories.

The paper (Rimsky et al. 2024) gives the mean of category means, in which a small category counts as much as a large
one. Per-item differences of two scores can be grouped alike: their intervals are those of paired items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from caa_registry.display.records import Row, Table
from caa_registry.errors import InputError
from caa_registry.evaluation.inference.intervals import Interval, Units, mean, weighted_means


@dataclass(frozen=True)
class CategoryScores(Table):
    """``categories``: each one's mean over its ``n`` items, by name. ``items``: the mean over all items.
    ``of_means``: the mean of category means; its ``n`` are the items."""

    _facts: ClassVar = "items of_means"

    categories: dict[str, Interval]
    items: Interval
    of_means: Interval

    def _rows(self) -> Sequence[Row]:
        return [{"category": name, **mean._as_row()} for name, mean in self.categories.items()]


def by_category(scores: NDArray[np.float64], categories: Sequence[str | None]) -> CategoryScores:
    """Per-item ``scores``, float64 ``(items,)``, grouped by the category of each, with 95 % intervals.

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
    # Items of one category are no cluster: its mean counts as one of the categories that there are.
    units = Units.of(np.arange(len(scores)), names.astype(str))
    return CategoryScores(
        {name: mean(values) for name, values in groups.items()},
        mean(scores),
        weighted_means(scores[:, None], units, [1 / len(groups)] * len(groups))[0],
    )
