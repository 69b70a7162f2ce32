"""A sweep in one call, as evaluations make it in two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from caa_registry.engine.sweeps import Arm, Part, Parts
from caa_registry.evaluation.propensity import ItemSet
from caa_registry.evaluation.sweep import joined, joined_doses
from caa_registry.evaluation.sweep import sweep as measure
from caa_registry.models.model import Model
from caa_registry.progress import Progress, silent
from caa_registry.steering.positions import SteeredPositions


def sweep(
    model: Model,
    vectors: Mapping[int, NDArray[np.float32]],
    items: ItemSet,
    multipliers: Sequence[float],
    positions: SteeredPositions = "after_prompt",
    progress: Progress = silent,
    *,
    kept: Sequence[Part] = (),
    keep: Callable[[Part], None] = lambda part: None,
) -> NDArray[np.float64]:
    """Log-probabilities ``(vectors, layers, multipliers, items, 2)``."""
    parts = list(kept)

    def found(of_arms: Parts) -> None:
        (part,) = of_arms
        keep(part)
        parts.append(part)

    measure(model, [Arm(vectors, multipliers)], items, positions, progress, kept=[kept], keep=found)
    return joined(model, items, list(vectors), multipliers, parts, len(next(iter(vectors.values()))))


def dosed(
    model: Model,
    vectors: Mapping[int, NDArray[np.float32]],
    items: ItemSet,
    multipliers: Sequence[float],
    positions: SteeredPositions = "after_prompt",
    keep: Callable[[Part], None] = lambda part: None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """KL and whether a letter comes first, ``(layers, multipliers, items)`` each, of one vector."""
    parts: list[Part] = []

    def found(of_arms: Parts) -> None:
        (part,) = of_arms
        keep(part)
        parts.append(part)

    measure(model, [Arm(vectors, multipliers, doses=True)], items, positions, keep=found)
    return joined_doses(items, list(vectors), multipliers, parts)
