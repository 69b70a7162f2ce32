"""Mean difference, the estimator of contrastive activation addition::

    v = 1/n * sum over pairs of (positive - negative)

Rimsky et al., "Steering Llama 2 via Contrastive Activation Addition", ACL 2024, section 3.1.
"""

from __future__ import annotations

from caa_registry.extraction.estimators.rows import Rows, mean_differences


def mean_difference(positive: Rows, negative: Rows, weights: Rows, signs: Rows) -> Rows:
    """The weighted mean differences ``(k, d)``, raw. See ``estimator.Estimator`` for the arguments."""
    return mean_differences(positive - negative, weights, signs)
