"""The ways to make a direction from pairs, by name. Apart from the code that computes, which needs numpy."""

from __future__ import annotations

from caa_registry.errors import UsageError

Method = str
METHODS: tuple[Method, ...] = ("mean-difference", "pca", "logistic", "lda")


def check_method(method: str) -> Method:
    """``method`` if it is known, else ``UsageError``."""
    if method in METHODS:
        return method
    raise UsageError(f"there is no method {method!r}", f"Choose one of {', '.join(METHODS)}.")
