"""A sweep: propensity at every layer and multiplier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.evaluation.intervals import Interval, bootstrap_mean
from caa_registry.evaluation.propensity import ItemSet, score
from caa_registry.models.model import Model
from caa_registry.progress import Progress, silent
from caa_registry.steering.additions import Addition, steering
from caa_registry.steering.positions import SteeredPositions
from caa_registry.vectors.vector_set import VectorSet


@dataclass(frozen=True, eq=False)
class Cell:
    """The scores at one layer and multiplier. ``items``: per-item propensity, float64 ``(items,)``."""

    layer: int
    multiplier: float
    items: NDArray[np.float64]

    @property
    def interval(self) -> Interval:
        return bootstrap_mean(self.items)


def sweep(
    model: Model,
    vectors: VectorSet,
    items: ItemSet,
    layers: Sequence[int],
    multipliers: Sequence[float],
    positions: SteeredPositions = "after_prompt",
    progress: Progress = silent,
) -> list[Cell]:
    """Score every layer at every multiplier, layer by layer. Multiplier 0 is the unsteered model and runs once."""
    model.check_layers(layers)
    chosen = [vectors[layer] for layer in layers]
    unsteered: NDArray[np.float64] | None = None
    cells: list[Cell] = []
    total = len(layers) * len(multipliers)
    progress(0, total)
    for vector in chosen:
        for multiplier in multipliers:
            if multiplier == 0:
                unsteered = score(model, items) if unsteered is None else unsteered
                values = unsteered
            else:
                with steering(model, [Addition(vector.layer, vector.values, multiplier)], positions):
                    values = score(model, items)
            cells.append(Cell(vector.layer, multiplier, values))
            progress(len(cells), total)
    return cells
