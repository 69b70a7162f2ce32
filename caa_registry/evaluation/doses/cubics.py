"""Monotone cubics through points: those of scipy's ``PchipInterpolator``, which takes 0.3 s to import.

Between two neighbours the curve stays between their values, so that it has no peak that was not measured.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def monotone_cubics(x: NDArray[np.float64], y: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each column of ``y`` ``(k, n)`` the curve through its values at ``x`` ``(k,)``, rising, k >= 2, read at each
    of ``at`` ``(m,)``, none of them beyond the ends of ``x``: ``(m, n)`` (Fritsch & Butland 1984)."""
    steps = np.diff(x)[:, None]
    rises = np.diff(y, axis=0) / steps
    slopes = _slopes(steps, rises)
    left = np.searchsorted(x, at, side="right").clip(1, len(x) - 1) - 1
    step = steps[left]
    part = (at - x[left])[:, None] / step
    # Hermite's form: the values at both ends, weighted, and how the slopes there bend the line between them.
    bends = (1 - part) ** 2 * part * slopes[left] - (1 - part) * part**2 * slopes[left + 1]
    cubics: NDArray[np.float64] = y[left] + part**2 * (3 - 2 * part) * (y[left + 1] - y[left]) + step * bends
    return cubics


def _slopes(steps: NDArray[np.float64], rises: NDArray[np.float64]) -> NDArray[np.float64]:
    """The slope at every point, ``(k, n)``. ``steps``: ``(k - 1, 1)``; ``rises``: of the line to the next point,
    ``(k - 1, n)``. At a point where the curve turns it is 0."""
    if len(rises) == 1:
        return np.concatenate([rises, rises])
    before, after = steps[:-1] + 2 * steps[1:], 2 * steps[:-1] + steps[1:]
    turns = np.sign(rises[:-1]) * np.sign(rises[1:]) <= 0
    ahead, behind = (np.where(turns, 1.0, each) for each in (rises[1:], rises[:-1]))
    inner = (before + after) / (before / behind + after / ahead)
    first, last = _end(steps[0], steps[1], rises[0], rises[1]), _end(steps[-1], steps[-2], rises[-1], rises[-2])
    return np.concatenate([first[None], np.where(turns, 0.0, inner), last[None]])


def _end(
    step: NDArray[np.float64], next_step: NDArray[np.float64], rise: NDArray[np.float64], next_rise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The slope at an end: of the parabola through three points, as far as the curve stays monotone."""
    slope = ((2 * step + next_step) * rise - step * next_rise) / (step + next_step)
    steep = (np.sign(rise) != np.sign(next_rise)) & (np.abs(slope) > 3 * np.abs(rise))
    return np.where(np.sign(slope) != np.sign(rise), 0.0, np.where(steep, 3 * rise, slope))
