"""Behavior and letter apart.

Where items are answered by letters, a vector can move the answer's meaning or merely its letter. What it does to items
whose matching letter is A and what it does to those where it is B are averaged with equal weight: that is its effect on
the behavior. Half their difference is its effect on the letter: a vector that only favours A raises the one as much as
it lowers the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from caa_registry.evaluation.inference.intervals import Interval, Units, weighted_means
from caa_registry.evaluation.inference.power import Power, powers

if TYPE_CHECKING:
    from caa_registry.evaluation.measurements import Observed

FEWEST_OF_A_LETTER = 10
"""Of fewer clusters of a letter there is no interval: their mean, which counts as much as others, is too unsure."""


@dataclass(frozen=True, eq=False)
class Contrasts:
    """Items in strata by their matching letter, and the weights of the strata.

    ``counted``: which items the model was asked. ``letters``: of the strata, ascending; empty where items are not all
    answered by letters, or the same one is always right: all are then one stratum. ``weights``: by item, which sum to
    1; every letter counts the same.
    """

    counted: NDArray[np.bool_]
    units: Units
    letters: tuple[str, ...]
    weights: NDArray[np.float64]

    def behavior(self, values: NDArray[np.float64]) -> list[Interval]:
        """Of each column of ``(counted items, k)`` the mean, every letter counting the same."""
        return self._weighted(values, self._equal)

    def power(self, values: NDArray[np.float64], behavior: Sequence[Interval]) -> list[Power]:
        """Of each column what the items can show of the mean that ``behavior`` gives."""
        return powers(behavior, values, self.units, self._equal)

    @property
    def _equal(self) -> list[float]:
        strata = max(1, len(self.letters))
        return [1 / strata] * strata

    def letter(self, values: NDArray[np.float64]) -> list[Interval] | None:
        """Of each column half the difference between the two letters, the first minus the second; ``None`` unless there
        are two."""
        return self._weighted(values, [0.5, -0.5]) if len(self.letters) == 2 else None

    def _weighted(self, values: NDArray[np.float64], weights: Sequence[float]) -> list[Interval]:
        found = weighted_means(values, self.units, weights)
        few = min(len(np.unique(self.units.clusters[self.units.strata == s])) for s in range(len(weights)))
        if len(weights) == 1 or few >= FEWEST_OF_A_LETTER:
            return found
        return [Interval(each.value, None, None, each.n) for each in found]


def contrasts(observed: Observed) -> Contrasts:
    """How the items of ``observed`` that the model was asked are weighted. There is at least one."""
    return contrasts_of(observed.letters, observed.clusters, observed.counted)


def contrasts_of(
    letters: Sequence[str], clusters: Sequence[int], counted: NDArray[np.bool_] | None = None
) -> Contrasts:
    """How items are weighted, of which each has a letter, or ``""``, and a cluster."""
    kept = np.ones(len(letters), bool) if counted is None else counted
    of_counted = np.array(letters)[kept]
    names = np.unique(of_counted)
    lettered = len(names) > 1 and "" not in names
    units = Units.of(np.array(clusters)[kept], of_counted if lettered else None)
    counts = np.bincount(units.strata)
    weights = 1 / (len(counts) * counts[units.strata])
    return Contrasts(kept, units, tuple(map(str, names)) if lettered else (), weights)
