"""Vectors that act on the residual stream of a model, where, and how strongly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.display.records import Record
from caa_registry.errors import ModelMismatchError, UsageError
from caa_registry.models.model import Model
from caa_registry.models.stream import Positions
from caa_registry.mx import mx
from caa_registry.steering.operators.add import add
from caa_registry.steering.operators.operator import operator as operator_named
from caa_registry.steering.positions import SteeredPositions, check_positions


@dataclass(frozen=True, eq=False)
class Addition(Record):
    """``multiplier * vector`` added to the residual stream after block ``layer``. ``vector``: float ``(d_model,)``."""

    layer: int
    vector: NDArray[np.float32]
    multiplier: float = 1.0


@contextmanager
def steering(
    model: Model, additions: Sequence[Addition], positions: SteeredPositions = "after_prompt", operator: str = "add"
) -> Iterator[None]:
    """Steer the model while the context lasts; afterwards it is as before.

    ``positions``, by absolute position p of a token and e, that of the last token of the prompt's template:
    ``after_prompt`` p >= e (the paper's rule); ``all``; ``generated`` p > e; ``last`` p = e. Earlier positions keep
    their bits. Several additions at one layer are summed, and ``operator`` (``steering/operators``) says what is done
    to the stream with that sum. Contexts may be nested; the outer one acts first.

    Raises ``UsageError`` for a layer the model does not have and for an unknown operator, ``ModelMismatchError`` for a
    vector of another width.
    """
    check_positions(positions)
    operate = operator_named(operator)
    deltas = {layer: mx.array(total) for layer, total in sums(model, additions).items()}
    # Arrays belong to the thread that made them until they are evaluated.
    mx.eval(*deltas.values())

    def act(layer: int, hidden: mx.array, where: Positions) -> mx.array:
        if layer not in deltas:
            return hidden
        steered = operate(hidden, deltas[layer])
        if (steered.shape, steered.dtype) != (hidden.shape, hidden.dtype):
            raise UsageError(
                f"operator {operator!r} makes {steered.dtype} {steered.shape} of a stream of {hidden.dtype} "
                f"{hidden.shape}",
                "An operator keeps the stream's shape and dtype.",
            )
        return _at_positions(steered, hidden, positions, where)

    with model.stream.tapped(act):
        yield


def sums(model: Model, additions: Sequence[Addition]) -> dict[int, NDArray[np.float32]]:
    """What is added at each layer in all, float32 ``(d_model,)``, checked as ``steering`` says."""
    model.check_layers([addition.layer for addition in additions])
    # Summed in float64, so that the order of the additions does not show.
    totals: dict[int, NDArray[np.float64]] = {}
    for addition in additions:
        if addition.vector.shape != (model.d_model,):
            raise ModelMismatchError(
                f"the vector has shape {addition.vector.shape}; {model.info.name} is {model.d_model} wide",
                "Use a vector that was computed for this model.",
            )
        if not np.isfinite(addition.multiplier):
            raise UsageError(f"multiplier {addition.multiplier} is not a finite number")
        if not np.isfinite(addition.vector).all():
            raise UsageError(f"the vector for layer {addition.layer} holds values that are not finite")
        delta = addition.vector.astype(np.float64) * addition.multiplier
        totals[addition.layer] = totals[addition.layer] + delta if addition.layer in totals else delta
    with np.errstate(over="ignore"):
        narrow = {layer: total.astype(np.float32) for layer, total in totals.items()}
    if not all(np.isfinite(total).all() for total in narrow.values()):
        raise UsageError("vector times multiplier is beyond what float32 holds", "Choose a smaller multiplier.")
    return narrow


def added(hidden: mx.array, delta: mx.array, positions: SteeredPositions, where: Positions) -> mx.array:
    """``hidden`` with ``delta`` added at the steered positions; ``delta`` is of a shape that adds to it."""
    return _at_positions(add(hidden, delta), hidden, positions, where)


def _at_positions(steered: mx.array, hidden: mx.array, positions: SteeredPositions, where: Positions) -> mx.array:
    """``steered`` at the steered positions, ``hidden`` at the others; both ``(rows, tokens, d_model)``."""
    return steered if positions == "all" else mx.where(_mask(positions, where)[..., None], steered, hidden)


def _mask(positions: SteeredPositions, where: Positions) -> mx.array:
    """Bool ``(rows or 1, tokens)``: which tokens of this call are steered."""
    if where.prompt_end is None:
        raise UsageError(
            f"positions '{positions}' need to know where the prompt ends",
            "Generate with model.generate or model.stream_text, or steer positions='all'.",
        )
    if positions == "after_prompt":
        return where.index >= where.prompt_end
    if positions == "generated":
        return where.index > where.prompt_end
    return where.index == where.prompt_end
