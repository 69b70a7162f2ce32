"""Measurements with their doses, made by hand: items whose log-odds follow the multiplier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from caa_registry.evaluation.measurements import Measurements, Observed

Floats = NDArray[np.float64]


def dosed(
    slopes: Floats,
    multipliers: Sequence[float],
    kl_per_step: float | None,
    letters: str = "",
    curved: bool = False,
    first_layer: int = 0,
) -> Measurements:
    """``slopes``: of the log-odds of every item at each layer, ``(layers, items)``, from a propensity of 0.4.

    The dose is ``kl_per_step`` times the squared multiplier, twice that of items with an odd number and 0 of the
    others; ``None``: not measured. ``curved``: log-odds and the root of the dose saturate instead, each in its way.
    """
    steps = np.asarray(multipliers, dtype=np.float64)
    moved = np.einsum("m,li->lmi", steps, slopes)
    roots = np.abs(steps)
    if curved:
        moved, roots = 6 * np.tanh(moved / 6), roots / np.sqrt(1 + 0.1 * (kl_per_step or 1) * steps**2)
    odds = logit(0.4) + moved
    log_p = np.stack([-np.log1p(np.exp(-odds)), -np.log1p(np.exp(odds))], axis=-1)
    layers, n = slopes.shape
    kl = None
    if kl_per_step is not None:
        share = np.where(np.arange(n) % 2, 2.0, 0.0) * n / (2 * (n // 2))
        kl = np.broadcast_to(kl_per_step * (roots**2)[:, None] * share, odds.shape).copy()
    observed = Observed(tuple(range(n)), tuple(letters) or ("",) * n, log_p, tuple(range(n)), kl)
    numbers = tuple(range(first_layer, first_layer + layers))
    return Measurements("propensity", numbers, tuple(map(float, steps)), {"vector": observed})
