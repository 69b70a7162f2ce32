"""The common type of the operators, and each by its name."""

from __future__ import annotations

from collections.abc import Callable

from caa_registry.extensions import Extensions, resolve
from caa_registry.mx import mx

Operator = Callable[[mx.array, mx.array], mx.array]
"""``(hidden, delta) -> hidden``: what is put in the stream's place.

``hidden`` is the stream after a block, ``(rows, tokens, d_model)``. ``delta`` is the sum of multiplier times vector of
the additions at that block, float32, and broadcasts to it: ``(d_model,)``, or ``(rows, 1, d_model)`` where rows are
steered differently. An operator keeps the shape and dtype of ``hidden``, since a wider result would widen the cache and
all later blocks; it computes each token by itself, keeps the bits of a token whose delta is zero, and evaluates
nothing. All tokens pass through it; at positions that are not steered its result is dropped.
"""

OPERATORS: Extensions[str] = Extensions("operator", {"add": "caa_registry.steering.operators.add:add"})
"""The module and function of each operator."""


def operator(name: str) -> Operator:
    """The operator of that name. Raises ``UsageError`` where there is none."""
    function: Operator = resolve(OPERATORS.named(name))
    return function
