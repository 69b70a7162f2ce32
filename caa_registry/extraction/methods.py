"""The ways to make a direction from pairs, by name. Separate from the code that computes, which needs numpy."""

from __future__ import annotations

from caa_registry.extensions import Extensions

Method = str
METHODS: Extensions[str] = Extensions(
    "method",
    {
        "mean-difference": "caa_registry.extraction.estimators.mean_difference:mean_difference",
        "pca": "caa_registry.extraction.estimators.pca:principal_component",
        "logistic": "caa_registry.extraction.estimators.logistic:logistic_direction",
        "lda": "caa_registry.extraction.estimators.lda:whitened_mean_difference",
    },
)
"""The module and function of each method's estimator (``extraction/estimators``)."""


def check_method(method: str) -> Method:
    """``method`` if it is known, else ``UsageError``."""
    METHODS.named(method)
    return method
