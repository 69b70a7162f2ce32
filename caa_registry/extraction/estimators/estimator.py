"""The common type of the estimators, and each by its name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from caa_registry.extensions import resolve
from caa_registry.extraction.estimators.rows import Rows
from caa_registry.extraction.methods import METHODS, Method

Estimator = Callable[[Rows, Rows, Rows, Rows], Rows]
"""``(positive, negative, weights, signs) -> directions``: k fits to the same pairs at once, in float64.

``positive`` and ``negative`` are activations ``(n, d)``, row i of both from pair i. Fit j counts pair i
``weights[j, i]`` times (0 and 1 for a half, counts for a bootstrap resample; no row is all zero) and swaps its sides
where ``signs[j, i]`` is -1; both are ``(k, n)``. Each direction ``(k, d)`` has the length of the mean difference of
the same weighted and swapped pairs, so that a multiplier means the same for every method; where that mean difference
is zero, the direction is zero.
"""


def estimator(method: Method) -> Estimator:
    """The estimator of that name. Raises ``UsageError`` where there is none."""
    function: Estimator = resolve(METHODS.named(method))
    return function


def estimate(method: Method, positive: NDArray[np.float32], negative: NDArray[np.float32]) -> NDArray[np.float32]:
    """The steering vector ``(d,)`` of one layer from activations ``(n, d)``, n >= 1, computed in float64."""
    every = np.ones((1, len(positive)))
    directions = estimator(method)(positive.astype(np.float64), negative.astype(np.float64), every, every)
    vector: NDArray[np.float32] = directions[0].astype(np.float32)
    return vector
