"""Two iterative solvers that work on many small problems at once, one problem per row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from caa_registry.extraction.estimators.rows import Rows, ratio, row_dots, unit_rows

_MOST_STEPS = 500
_EIGEN_TOLERANCE = 1e-10
# Distance of the first guess from the first axis. Were that axis a wrong eigenvector and the guess exactly on it, the
# search would never leave it.
_NUDGE = 1e-3


def conjugate_gradients(apply: Callable[[Rows], Rows], right: Rows, diagonal: Rows, tolerance: Rows) -> Rows:
    """Solve ``A_j x_j = right_j`` for positive definite ``A_j``, all at once (Hestenes & Stiefel 1952).

    ``apply`` maps ``(k, r)`` to ``(k, r)`` row by row. ``diagonal``, the preconditioner, is close to the diagonal of
    each ``A_j``. A row is done when its residual is at most its ``tolerance`` ``(k, 1)`` times the length of its right
    side; it then stays as it is while others continue.
    """
    solution = np.zeros_like(right)
    residual = right.copy()
    limit = tolerance**2 * row_dots(right, right)
    step = scaled = ratio(residual, diagonal)
    product = row_dots(residual, scaled)
    for _ in range(_MOST_STEPS):
        open_rows = row_dots(residual, residual) > limit
        if not open_rows.any():
            break
        image = apply(step)
        size = np.where(open_rows, ratio(product, row_dots(step, image)), 0.0)
        solution += size * step
        residual -= size * image
        scaled = ratio(residual, diagonal)
        before, product = product, row_dots(residual, scaled)
        step = scaled + ratio(product, before) * step
    return solution


def top_eigenvectors(values: Rows, weights: Rows) -> Rows:
    """Unit eigenvectors ``(k, r)`` of the largest eigenvalues of ``values.T @ diag(weights_j) @ values``.

    ``values`` ``(n, r)`` are coordinates along principal axes, the first of which is where the search starts. Locally
    optimal conjugate gradients on the Rayleigh quotient (Knyazev 2001), without a preconditioner: each step takes the
    best direction among the guess, its residual and the step before.
    """
    start = _NUDGE * unit_rows(np.random.default_rng(0).standard_normal((1, values.shape[1])))
    start[:, :1] += 1
    vectors = np.repeat(unit_rows(start), len(weights), axis=0)

    def apply(guess: Rows) -> Rows:
        return ((guess @ values.T) * weights[rows]) @ values

    rows = np.arange(len(weights))
    guess = vectors
    image = apply(guess)
    step, step_image = np.zeros_like(guess), np.zeros_like(guess)
    for _ in range(_MOST_STEPS):
        quotient = row_dots(guess, image)
        residual = image - quotient * guess
        going = (row_dots(residual, residual) > (_EIGEN_TOLERANCE * quotient) ** 2)[:, 0]
        vectors[rows] = guess
        if not going.any():
            break
        if not going.all():
            rows, guess, image, residual = rows[going], guess[going], image[going], residual[going]
            step, step_image = step[going], step_image[going]
        # Orthogonal to the guess already, except for rounding, which matters once the residual is small.
        residual -= row_dots(residual, step) * step
        residual = unit_rows(residual - row_dots(residual, guess) * guess)
        basis = np.stack([guess, residual, step], axis=1)
        images = np.stack([image, apply(residual), step_image], axis=1)
        inner = basis @ images.transpose(0, 2, 1)
        best = np.linalg.eigh(inner + inner.transpose(0, 2, 1))[1][:, :, -1]
        guess, image = (np.einsum("kc,kcr->kr", best, part) for part in (basis, images))
        length = np.sqrt(row_dots(guess, guess))
        guess, image = ratio(guess, length), ratio(image, length)
        step, step_image = (np.einsum("kc,kcr->kr", best[:, 1:], part[:, 1:]) for part in (basis, images))
        overlap = row_dots(step, guess)
        step, step_image = step - overlap * guess, step_image - overlap * image
        length = np.sqrt(row_dots(step, step))
        step, step_image = ratio(step, length), ratio(step_image, length)
    return vectors
