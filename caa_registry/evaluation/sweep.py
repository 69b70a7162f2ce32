"""A sweep: the answers' log-probabilities at every layer and multiplier, of one vector or of many."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.engine.checks import DifferentError
from caa_registry.engine.sweeps import Arm, Part, Parts, Sweep, run_steered, run_whole
from caa_registry.evaluation.propensity import ItemSet, answers_of, measured
from caa_registry.evaluation.shards import ALL, Shard, missing, places
from caa_registry.models.model import Model
from caa_registry.progress import Progress, silent
from caa_registry.steering.positions import SteeredPositions, check_positions

_log = logging.getLogger(__name__)


def sweep(
    model: Model,
    arms: Sequence[Arm],
    items: ItemSet,
    positions: SteeredPositions = "after_prompt",
    progress: Progress = silent,
    *,
    kept: Sequence[Sequence[Part]] = (),
    keep: Callable[[Parts], None],
    shard: Shard = ALL,
) -> None:
    """Measure the ``shard``'s questions: ``keep`` gets parts as they are done, one an arm.

    ``arms``: what is added, at the same layers in each, those with doses first. Multiplier 0 is the unsteered model,
    run once for all. ``kept`` are the parts of each arm from an interrupted call with the same arguments, which are not
    run again. ``progress`` counts work, of one token through one block.

    Of each text only what steering changes is run (``engine.runs``); where an architecture computes something else
    in that way, whole texts are, and a warning says so. Raises ``UsageError`` for a layer that the model does not have.
    """
    check_positions(positions)
    model.check_layers(list(arms[0].vectors))
    answers, ends = answers_of(items), 1 if items.metric == "propensity" else 2
    only = shard.questions(len(answers) // ends)
    steered = [replace(arm, multipliers=[m for m in arm.multipliers if m != 0]) for arm in arms]
    run = Sweep(model, answers, ends, steered, positions, only)
    wanted = places(only, arms[0].vectors, [m for arm in arms for m in arm.multipliers])
    # What was kept of some arms alone is run again.
    left = set().union(*(missing(wanted, parts) for parts in kept or [()]))
    if not left:
        return
    done = wanted - left
    try:
        if any(part.whole for parts in kept for part in parts):
            raise DifferentError(f"{model.info.architecture} could not be run otherwise before")
        at_caller = mx_thread.at_caller
        mx_thread.run(run_steered, run, at_caller(keep), done, at_caller(progress))
    except DifferentError as error:
        _log.warning("%s, so every text is run whole at every layer and multiplier.", error)
        total = len({layer for layer, _ in left})
        progress(0, total)
        for at, parts in enumerate(mx_thread.each(run_whole, run, done), start=1):
            keep(parts)
            progress(at, total)


def joined(
    model: Model,
    items: ItemSet,
    layers: Sequence[int],
    multipliers: Sequence[float],
    parts: Iterable[Part],
    vectors: int = 1,
) -> NDArray[np.float64]:
    """Natural log-probabilities of the matching answer and of all others, float64 ``(vectors, layers, multipliers,
    items, 2)``, from parts that hold every place. Raises ``ModelError`` where logits are not numbers."""
    steered, unsteered = np.flatnonzero(multipliers), np.flatnonzero(np.equal(multipliers, 0))
    log_p = np.full((vectors, len(layers), items.open, len(multipliers), 2), np.nan)
    for part in parts:
        rows = np.array(part.questions, dtype=np.intp)[:, None]
        if part.layer is None:
            log_p[:, :, rows, unsteered] = part.log_p
        else:
            values = part.log_p.reshape(len(rows), vectors, len(steered), 2).swapaxes(0, 1)
            log_p[:, layers.index(part.layer)][:, rows, steered] = values
    return measured(model, items, log_p.swapaxes(2, 3))


def joined_doses(
    items: ItemSet, layers: Sequence[int], multipliers: Sequence[float], parts: Iterable[Part]
) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """``Observed.kl`` and ``Observed.answers_first`` of one vector, from parts that hold every place. Raises
    ``ValueError`` for parts without doses."""
    steered, unsteered = np.flatnonzero(multipliers), np.flatnonzero(np.equal(multipliers, 0))
    asked = np.array([i for i, item in enumerate(items.items) if not item.beyond], dtype=np.intp)
    kl = np.full((len(layers), len(multipliers), len(items.items)), np.nan)
    first = np.zeros(kl.shape, bool)
    for part in parts:
        if part.kl is None or (part.answers_first is None) != (items.metric != "propensity"):
            raise ValueError("a part of an evaluation holds no doses")
        at = slice(None) if part.layer is None else layers.index(part.layer)
        columns = unsteered if part.layer is None else steered
        rows = asked[list(part.questions)][:, None]
        kl.swapaxes(1, 2)[at][..., rows, columns] = part.kl
        if part.answers_first is not None:
            first.swapaxes(1, 2)[at][..., rows, columns] = part.answers_first
    return kl, first if items.metric == "propensity" else None
