"""What all estimators need of rows: lengths, weighted mean differences, coordinates in the span of few rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]

# Squared lengths below this part of the largest, per row, are rounding.
_ROUNDING = np.finfo(np.float64).eps


def row_dots(left: Rows, right: Rows) -> Rows:
    """Dot product of each row with its counterpart, ``(k, 1)``."""
    dots: Rows = np.einsum("kd,kd->k", left, right)
    return dots[:, None]


def ratio(numerator: Rows, denominator: Rows) -> Rows:
    """``numerator / denominator``, and 0 where the denominator is 0."""
    return np.divide(
        numerator, denominator, out=np.zeros(np.broadcast(numerator, denominator).shape), where=denominator != 0
    )


def unit_rows(rows: Rows) -> Rows:
    """Each row at length 1; a zero row stays zero."""
    return ratio(rows, np.sqrt(row_dots(rows, rows)))


def mean_differences(differences: Rows, weights: Rows, signs: Rows) -> Rows:
    """Weighted means ``(k, d)`` of the pair differences ``(n, d)``, pair i of fit j with the sign ``signs[j, i]``."""
    means: Rows = (weights * signs) @ differences / weights.sum(axis=1, keepdims=True)
    return means


def scaled_to(directions: Rows, reference: Rows) -> Rows:
    """Each direction at the length of the reference's row; zero where either is zero."""
    return unit_rows(directions) * np.sqrt(row_dots(reference, reference))


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """Rows ``(n, d)`` by their coordinates along their own principal axes (uncentred): ``rows = values @ basis``.

    ``values`` ``(n, r)`` with ``r <= min(n, d)``, ``basis`` ``(r, d)`` orthonormal, ``squares`` ``(r,)`` the sum of
    squares of each column of ``values``, descending. Columns of ``values`` are orthogonal.
    """

    values: Rows
    basis: Rows
    squares: Rows


def principal_axes(rows: Rows) -> PrincipalAxes:
    """The axes from the eigenvectors of the smaller of the two products of ``rows`` with itself.

    What an estimator does in ``r`` coordinates instead of ``d`` is exact as long as its direction lies in the span of
    the rows.
    """
    few = len(rows) < rows.shape[1]
    squares, vectors = np.linalg.eigh(rows @ rows.T if few else rows.T @ rows)
    squares, vectors = squares[::-1], vectors[:, ::-1]
    kept = squares > _ROUNDING * len(squares) * squares[0]
    squares, vectors = squares[kept], vectors[:, kept]
    if not few:
        return PrincipalAxes(rows @ vectors, vectors.T, squares)
    roots = np.sqrt(squares)
    return PrincipalAxes(vectors * roots, (vectors / roots).T @ rows, squares)
