"""Whitened mean difference, Fisher's linear discriminant::

    v ~ S^-1 delta

delta is the mean difference and S the covariance of all activations, both sides, about their common mean, shrunk
towards a multiple of the identity as Ledoit & Wolf (2004) say.

Fisher (1936) has the covariance WITHIN the sides, W, in place of the total S = (1 - rho) (W + delta delta^T / 4) +
rho mu I. The two differ by a multiple of delta delta^T, and by the formula of Sherman & Morrison that changes the
length of S^-1 delta and not its direction. Swapping the sides of a pair leaves the total as it is, so permuted
labels need no new covariance.
"""

from __future__ import annotations

import numpy as np

from caa_registry.extraction.estimators.rows import Rows, mean_differences, principal_axes, row_dots, scaled_to
from caa_registry.extraction.estimators.shrinkage import shrinkage
from caa_registry.extraction.estimators.solvers import conjugate_gradients

# Unweighted fits are exact after one step, up to rounding; weighted ones only show how much a direction varies.
_TOLERANCE = 1e-5
# A smaller share of the identity is rounding and counts as none.
_LEAST_SHRINKAGE = 1e-8


def whitened_mean_difference(positive: Rows, negative: Rows, weights: Rows, signs: Rows) -> Rows:
    """Discriminant directions ``(k, d)`` at the length of the mean difference. See ``estimator.Estimator``."""
    n, width = positive.shape
    activations = np.concatenate([positive, negative])
    axes = principal_axes(activations - activations.mean(axis=0))
    counts = np.tile(weights, 2)
    shares = counts / counts.sum(axis=1, keepdims=True)
    centres = shares @ axes.values
    rho, mu = shrinkage(axes.values, counts, width)
    # The shrinkage is 0 where all observations are plus or minus one vector, as in a resample of a single pair. S is
    # then singular, and shrinking it fully gives what its pseudo-inverse would: the mean difference itself.
    rho = np.where(rho < _LEAST_SHRINKAGE, 1.0, rho)

    def covariance(rows: Rows) -> Rows:
        sample = ((rows @ axes.values.T) * shares) @ axes.values - row_dots(rows, centres) * centres
        shrunk: Rows = (1 - rho) * sample + rho * mu * rows
        return shrunk

    # Along the principal axes of all activations the unweighted covariance is diagonal, and one step solves it.
    diagonal = (1 - rho) * axes.squares / (2 * n) + rho * mu
    means = mean_differences(axes.values[:n] - axes.values[n:], weights, signs)
    directions = conjugate_gradients(covariance, means, diagonal, np.full_like(rho, _TOLERANCE))
    return scaled_to(directions @ axes.basis, mean_differences(positive - negative, weights, signs))
