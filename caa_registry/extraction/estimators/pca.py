"""First principal component of the pair differences::

    v = argmax over |v| = 1 of  sum over pairs of w_i * (d_i . v)^2,    d_i = positive_i - negative_i

The second moment is NOT centred: it is the PCA of the set that holds both d_i and -d_i, whose mean is zero, as in
Representation Engineering (Zou et al. 2023), where the difference of a pair is taken in either order. Centring the
differences first would remove their mean, which is what is sought, and leave what varies between pairs.

The component has no sign of its own; it is turned to point along the mean difference. Swapping the sides of a pair
leaves the second moment as it is, so a permutation of labels can change only that sign and the length.
"""

from __future__ import annotations

import numpy as np

from caa_registry.extraction.estimators.rows import Rows, mean_differences, principal_axes, row_dots, scaled_to
from caa_registry.extraction.estimators.solvers import top_eigenvectors


def principal_component(positive: Rows, negative: Rows, weights: Rows, signs: Rows) -> Rows:
    """First principal components ``(k, d)`` at the length of the mean difference. See ``estimator.Estimator``."""
    differences = positive - negative
    means = mean_differences(differences, weights, signs)
    axes = principal_axes(differences)
    distinct, which = np.unique(weights, axis=0, return_inverse=True)
    components = (top_eigenvectors(axes.values, distinct) @ axes.basis)[which.reshape(-1)]
    turned = np.where(row_dots(components, means) < 0, -components, components)
    return scaled_to(turned, means)
