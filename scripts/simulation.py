"""What simulations of statistics share: tasks with seeds of their own, skewed scores, and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.evaluation.inference.intervals import Interval

SEED = 20241128
LEVELS = (0.05, 0.01)
REPEATS = 4

Floats = NDArray[np.float64]
Hits = dict[str, int]
"""Of each figure how many simulations of a task count."""


@dataclass(frozen=True)
class Task:
    """``count`` simulations of ``what``, with its ``options``, from number ``first`` on."""

    what: str
    options: tuple[str | int | float, ...]
    first: int
    count: int

    @property
    def generator(self) -> np.random.Generator:
        return np.random.default_rng([SEED, *"/".join(map(str, (self.what, *self.options))).encode(), self.first])


MEANS = {"lognormal": float(np.exp(0.125)), "exponential": 1.0, "chi2": 1.0}


def drawn_from(distribution: str, size: tuple[int, ...], generator: np.random.Generator) -> Floats:
    if distribution == "lognormal":
        return generator.lognormal(0, 0.5, size)
    return generator.exponential(1, size) if distribution == "exponential" else generator.chisquare(1, size)


def scores(distribution: str, clusters: int, items: int, columns: int, generator: np.random.Generator) -> Floats:
    """``(clusters * items, columns)``; items of a cluster share most of what they are."""
    shared = np.repeat(drawn_from(distribution, (clusters, columns), generator), items, axis=0)
    return shared if items == 1 else 0.7 * shared + 0.3 * drawn_from(distribution, shared.shape, generator)


def holds(interval: Interval, truth: float) -> bool:
    return interval.low is not None and interval.high is not None and interval.low <= truth <= interval.high


def rejected(name: str, p_values: Sequence[float] | Floats, *, power: bool) -> Hits:
    said = "power: " if power else ""
    return {f"{said}{name}, p <= {level:g}": int((np.asarray(p_values) <= level).sum()) for level in LEVELS}
