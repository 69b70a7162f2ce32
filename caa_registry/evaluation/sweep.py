"""A sweep: propensity at every layer and multiplier."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.evaluation.intervals import Interval, bootstrap_mean
from caa_registry.evaluation.propensity import ItemSet, answers_of, propensities
from caa_registry.evaluation.steered_runs import DifferentError, Part, Sweep, run_steered, run_whole
from caa_registry.models.model import Model
from caa_registry.progress import Progress, silent
from caa_registry.steering.positions import SteeredPositions, check_positions
from caa_registry.vectors.vector_set import VectorSet

_log = logging.getLogger(__name__)


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
    """Score every layer at every multiplier, in that order. Multiplier 0 is the unsteered model, run once.

    Of each text only what steering changes is run (``steered_runs``); where an architecture computes something else
    in that way, whole texts are, and a warning says so. Raises ``ModelError`` where logits are not numbers.
    """
    check_positions(positions)
    model.check_layers(layers)
    chosen = {layer: vectors[layer].values for layer in layers}
    steered = [i for i, multiplier in enumerate(multipliers) if multiplier != 0]
    unsteered = [i for i, multiplier in enumerate(multipliers) if multiplier == 0]
    answers, ends = answers_of(items), 1 if items.metric == "propensity" else 2
    questions = len(answers) // ends
    log_p = np.full((len(layers), questions, len(multipliers), 2), np.nan)
    done, total = 0, (1 + len(layers)) * questions
    progress(0, total)

    def take(part: Part) -> None:
        nonlocal done
        for i, layer in enumerate(layers):
            if part.layer in (None, layer):
                log_p[i][np.ix_(part.questions, unsteered if part.layer is None else steered)] = part.log_p
        done += len(part.questions)
        progress(done, total)

    if questions:
        run = Sweep(model, answers, ends, chosen, [multipliers[i] for i in steered], positions)
        try:
            run_steered(run, take)
        except DifferentError as error:
            _log.warning("%s, so every text is run whole at every layer and multiplier.", error)
            for part in run_whole(run):
                take(part)
    return [
        Cell(layer, multiplier, propensities(model, items, log_p[i, :, j]))
        for i, layer in enumerate(layers)
        for j, multiplier in enumerate(multipliers)
    ]
