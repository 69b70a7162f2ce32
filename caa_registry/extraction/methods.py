"""The ways to make a direction from pairs, by name. Apart from the code that computes, which needs numpy."""

from __future__ import annotations

from typing import Literal, get_args

from caa_registry.errors import UsageError

Method = Literal["mean-difference", "pca", "logistic", "lda"]
METHODS: tuple[Method, ...] = get_args(Method)


def check_method(method: str) -> Method:
    """``method`` if it is known, else ``UsageError``."""
    for known in METHODS:
        if method == known:
            return known
    raise UsageError(f"there is no method {method!r}", f"Choose one of {', '.join(METHODS)}.")
