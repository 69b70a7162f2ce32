"""What makes one vector of several, on the numbers of one layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from caa_registry.errors import UsageError
from caa_registry.registry.records import COMBINE_OPERATIONS, CombineOperation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# Directions that differ by less are one: so far apart rounding to float32 puts two that are the same.
_PARALLEL = 1e-5
# Weights that add up to less, beside their sizes, add up to 0 but for rounding.
_ROUNDING = 1e-9


def check_operation(name: str) -> CombineOperation:
    """``name`` if it is an operation, else ``UsageError``."""
    for known in COMBINE_OPERATIONS:
        if name == known:
            return known
    raise UsageError(f"there is no operation {name!r}", f"Operations: {', '.join(COMBINE_OPERATIONS)}.")


def check_terms(operation: CombineOperation, weights: Sequence[float]) -> None:
    """Raise ``UsageError`` where ``operation`` takes another number of vectors, or other weights."""
    count = len(weights)
    if operation == "normalize":
        if count != 1:
            raise UsageError(f"normalize takes one vector, and {count} are given", "Name one.")
    elif operation in ("difference", "interpolate"):
        if count != 2:
            raise UsageError(f"{operation} takes two vectors, and {count} are given", "Name two.")
    elif count < (1 if operation == "sum" else 2):
        raise UsageError(f"{operation} takes at least two vectors, and {count} are given", "Name more.")
    if operation == "interpolate" and weights[0] != 1:
        raise UsageError("of interpolate only the second vector has a weight", "A and B:0.25 is a quarter of the way.")
    if operation == "orthogonalize" and any(weight != 1 for weight in weights[1:]):
        raise UsageError("what a vector is orthogonalized against has no weight", "Leave it out.")
    if operation == "mean" and abs(sum(weights)) <= _ROUNDING * sum(map(abs, weights)):
        raise UsageError("the weights of the mean add up to 0", "Give other weights, or make a sum.")


def combined(
    operation: CombineOperation, rows: Sequence[NDArray[np.float64]], weights: Sequence[float]
) -> NDArray[np.float64]:
    """One vector ``(d_model,)`` of several, with their weights ``w``, in float64.

    ``sum``: the sum of ``w_i v_i``; ``mean``: that over the sum of ``w_i``; ``difference``: ``w_1 v_1 - w_2 v_2``;
    ``interpolate``: ``(1 - w_2) v_1 + w_2 v_2``; ``orthogonalize``: ``w_1 v_1`` less its projection on the span of the
    others; ``normalize``: ``w_1 v_1 / |v_1|``, and 0 of a zero vector.
    """
    import numpy as np

    weighted = [weight * row for weight, row in zip(weights, rows, strict=True)]
    if operation == "difference":
        return weighted[0] - weighted[1]
    if operation == "interpolate":
        return (1 - weights[1]) * rows[0] + weighted[1]
    if operation == "normalize":
        length = float(np.linalg.norm(rows[0]))
        return weighted[0] / length if length else weighted[0]
    if operation == "orthogonalize":
        return _without(weighted[0], np.stack(rows[1:]))
    total: NDArray[np.float64] = np.sum(weighted, axis=0)
    return total / sum(weights) if operation == "mean" else total


def _without(row: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """``row`` less its projection on the span of ``others``, an orthonormal basis of which is taken."""
    import numpy as np

    lengths = np.linalg.norm(others, axis=1, keepdims=True)
    units = others[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
    if not len(units):
        return row
    left, sizes, _ = np.linalg.svd(units.T, full_matrices=False)
    basis = left[:, sizes > sizes[0] * _PARALLEL]
    return row - basis @ (basis.T @ row)
