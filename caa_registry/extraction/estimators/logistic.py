"""Conditional logistic regression: what tells the sides of a pair apart, whatever the level of the pair::

    v ~ argmin over x of  sum over pairs of w_i * log(1 + exp(-d_i . x / c)) + |x|^2 / 2

with d_i = positive_i - negative_i.

For matched pairs the conditional likelihood of logistic regression depends on the differences only, and has no
intercept (Breslow & Day 1980, chapter 7). It equals scikit-learn's ``LogisticRegression(fit_intercept=False, C=1)`` on
the rows d_i / c labelled 1 and their negatives labelled 0 with half the weight each. c is the mean length of the
differences, so that the strength of the penalty depends neither on the unit of the activations nor on their width.

Solved by Newton's method with conjugate gradients. A step of size log(1 + D) / D, where D is the largest change of a
margin that the full step makes, always lowers the loss, because the third derivative of the logistic loss is bounded
by the second (Bach 2010, "Self-concordant analysis for logistic regression").
"""

from __future__ import annotations

import numpy as np

from caa_registry.extraction.estimators.rows import Rows, mean_differences, principal_axes, ratio, row_dots, scaled_to
from caa_registry.extraction.estimators.solvers import conjugate_gradients

_MOST_STEPS = 100
_TOLERANCE = 1e-10


def logistic_direction(positive: Rows, negative: Rows, weights: Rows, signs: Rows) -> Rows:
    """Logistic directions ``(k, d)`` at the length of the mean difference. See ``estimator.Estimator``."""
    differences = positive - negative
    lengths = np.sqrt(row_dots(differences, differences))
    unit = weights @ lengths / weights.sum(axis=1, keepdims=True)
    axes = principal_axes(differences)
    minima = _minimize(axes.values, axes.squares / len(differences), weights, ratio(signs, unit))
    return scaled_to(minima @ axes.basis, mean_differences(differences, weights, signs))


def _minimize(values: Rows, variances: Rows, weights: Rows, scale: Rows) -> Rows:
    """Minima ``(k, r)`` of ``sum_i w_ji log(1 + exp(-scale_ji values_i . x)) + |x|^2 / 2``."""
    x = np.zeros((len(weights), values.shape[1]))
    margins = np.zeros_like(weights)
    start = None
    for _ in range(_MOST_STEPS):
        wrong = (1 - np.tanh(margins / 2)) / 2  # 1 / (1 + exp(margins)), which would overflow
        gradient = x - (weights * wrong * scale) @ values
        length = np.sqrt(row_dots(gradient, gradient))
        start = length if start is None else start
        if (length <= _TOLERANCE * start).all():
            break
        curvature = weights * wrong * (1 - wrong) * scale**2

        def apply(rows: Rows, curvature: Rows = curvature) -> Rows:
            return rows + ((rows @ values.T) * curvature) @ values

        diagonal = 1 + curvature.sum(axis=1, keepdims=True) * variances
        # Rough while far away, finer as it closes in: the last steps then converge quadratically.
        step = conjugate_gradients(apply, -gradient, diagonal, np.minimum(0.1, ratio(length, start)))
        change = (step @ values.T) * scale
        largest = np.abs(change * (weights > 0)).max(axis=1, keepdims=True)
        size = np.where(largest > 0, ratio(np.log1p(largest), largest), 1.0)
        x += size * step
        margins += size * change
    return x
