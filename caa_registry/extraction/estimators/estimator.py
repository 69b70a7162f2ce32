"""The common type of the estimators, and which name stands for which."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from caa_registry.extraction.estimators.lda import whitened_mean_difference
from caa_registry.extraction.estimators.logistic import logistic_direction
from caa_registry.extraction.estimators.mean_difference import mean_difference
from caa_registry.extraction.estimators.pca import principal_component
from caa_registry.extraction.estimators.rows import Rows
from caa_registry.extraction.methods import Method

Estimator = Callable[[Rows, Rows, Rows, Rows], Rows]
"""``(positive, negative, weights, signs) -> directions``: k fits to the same pairs at once, in float64.

``positive`` and ``negative`` are activations ``(n, d)``, row i of both from pair i. Fit j counts pair i
``weights[j, i]`` times (0 and 1 for a half, counts for a bootstrap resample; no row is all zero) and swaps its sides
where ``signs[j, i]`` is -1; both are ``(k, n)``. Each direction ``(k, d)`` has the length of the mean difference of
the same weighted and swapped pairs, so that a multiplier means the same for every method; where that mean difference
is zero, the direction is zero.
"""

_ESTIMATORS: dict[Method, Estimator] = {
    "mean-difference": mean_difference,
    "pca": principal_component,
    "logistic": logistic_direction,
    "lda": whitened_mean_difference,
}


def estimator(method: Method) -> Estimator:
    """The estimator of that name."""
    return _ESTIMATORS[method]


def estimate(method: Method, positive: NDArray[np.float32], negative: NDArray[np.float32]) -> NDArray[np.float32]:
    """The steering vector ``(d,)`` of one layer from activations ``(n, d)``, n >= 1, computed in float64."""
    every = np.ones((1, len(positive)))
    found = estimator(method)(positive.astype(np.float64), negative.astype(np.float64), every, every)
    vector: NDArray[np.float32] = found[0].astype(np.float32)
    return vector
