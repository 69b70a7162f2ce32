"""A sweep: the answers' log-probabilities at every layer and multiplier, of one vector or of many."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.engine.checks import DifferentError
from caa_registry.engine.sweeps import Part, Sweep, run_steered, run_whole
from caa_registry.evaluation.propensity import ItemSet, answers_of, measured
from caa_registry.models.model import Model
from caa_registry.progress import Progress, silent
from caa_registry.steering.positions import SteeredPositions, check_positions

_log = logging.getLogger(__name__)


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
    """Natural log-probabilities of the matching answer and of all others, float64
    ``(vectors, layers, multipliers, items, 2)``.

    ``vectors``: layer to float32 ``(vectors, d_model)``, as many at each layer. Multiplier 0 is the unsteered model,
    run once. ``keep`` gets every part as it is done, ``kept`` are those of an interrupted call with the same arguments,
    which are not run again. ``progress`` counts questions, each unsteered and at each layer.

    Of each text only what steering changes is run (``engine.runs``); where an architecture computes something else
    in that way, whole texts are, and a warning says so. Raises ``ModelError`` where logits are not numbers.
    """
    check_positions(positions)
    layers = list(vectors)
    model.check_layers(layers)
    steered, unsteered = np.flatnonzero(multipliers), np.flatnonzero(np.equal(multipliers, 0))
    answers, ends = answers_of(items), 1 if items.metric == "propensity" else 2
    questions, count = len(answers) // ends, len(next(iter(vectors.values())))
    log_p = np.full((count, len(layers), questions, len(multipliers), 2), np.nan)
    done: set[tuple[int | None, int]] = set()
    total = (1 + len(layers) * bool(len(steered))) * questions

    def take(part: Part) -> None:
        places = np.array(part.questions)[:, None]
        if part.layer is None:
            log_p[:, :, places, unsteered] = part.log_p
        else:
            values = part.log_p.reshape(len(places), count, len(steered), 2).swapaxes(0, 1)
            log_p[:, layers.index(part.layer)][:, places, steered] = values
        done.update(part.places)
        progress(len(done), total)

    def found(part: Part) -> None:
        keep(part)
        take(part)

    progress(0, total)
    for part in kept:
        take(part)
    if questions:
        run = Sweep(model, answers, ends, vectors, [m for m in multipliers if m != 0], positions)
        try:
            if any(part.whole for part in kept):
                raise DifferentError(f"{model.info.architecture} could not be run otherwise before")
            mx_thread.run(run_steered, run, mx_thread.at_caller(found), kept)
        except DifferentError as error:
            _log.warning("%s, so every text is run whole at every layer and multiplier.", error)
            for part in mx_thread.each(run_whole, run, kept):
                found(part)
    return measured(model, items, log_p.swapaxes(2, 3))
