"""How far a sample covariance is shrunk towards a multiple of the identity (Ledoit & Wolf 2004)::

    S* = (1 - rho) S + rho mu I,    mu = trace(S) / d
    rho = min(b, delta) / delta,    delta = |S - mu I|^2 / d,    b = 1 / (N d) * (mean |z_i|^4 - |S|^2)

with |.| the Frobenius norm, S = 1/N sum z_i z_i^T and z_i the observations about their mean. "A well-conditioned
estimator for large-dimensional covariance matrices", Journal of Multivariate Analysis 88, section 3.
"""

from __future__ import annotations

import numpy as np

from caa_registry.extraction.estimators.rows import Rows, ratio, row_dots

_ROWS_AT_ONCE = 1024


def shrinkage(values: Rows, weights: Rows, width: int) -> tuple[Rows, Rows]:
    """``rho`` and ``mu``, ``(k, 1)`` each, of the covariances of ``values`` ``(n, r)`` under each row of ``weights``.

    Weights count observations: N is their sum. ``width`` is d, the dimension that the coordinates stand for; it may be
    more than r, as a rotation into the span of the observations changes neither trace nor norm.
    """
    total = weights.sum(axis=1, keepdims=True)
    shares = weights / total
    means = shares @ values
    along = means @ values.T
    middle = row_dots(means, means)
    lengths = row_dots(values, values).T - 2 * along + middle  # |z_i|^2, (k, n)
    level = row_dots(shares, lengths) / width
    norm = _second_moment_norms(values, shares) - 2 * row_dots(shares, along**2) + middle**2
    distance = norm / width - level**2
    spread = (row_dots(shares, lengths**2) - norm) / (total * width)
    intensity = ratio(spread, distance)
    return np.clip(intensity, 0.0, 1.0), level


def _second_moment_norms(values: Rows, shares: Rows) -> Rows:
    """Squared Frobenius norms of ``sum_i share_ji values_i values_i^T``, ``(k, 1)``, without forming any of them."""
    norms = np.zeros((len(shares), 1))
    for first in range(0, len(values), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        squared = (values[part] @ values.T) ** 2
        norms += row_dots(shares[:, part] @ squared, shares)
    return norms
