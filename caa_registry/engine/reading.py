"""Activations of pairs: which token is read, and the residual stream there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caa_registry.engine.plan import TOKENS_PER_BATCH, batches
from caa_registry.engine.steps import Step, building, evaluate, steps
from caa_registry.errors import UsageError
from caa_registry.models.model import Model
from caa_registry.models.read_position import ReadPosition, check_read
from caa_registry.models.rendering.prompts import CompletedTokens
from caa_registry.models.stream import Positions
from caa_registry.mx import mx


@dataclass(frozen=True)
class PairTokens:
    """Both sides of one pair, encoded. ``index`` is the pair's place in the list it came from."""

    index: int
    positive: CompletedTokens
    negative: CompletedTokens


@dataclass
class Work:
    """What reading has cost so far: forward passes (calls of the network), the tokens run in them without padding,
    and why prompts were not shared between the sides of a pair, empty where they were."""

    forward_passes: int = 0
    tokens: int = 0
    not_shared: str = ""

    def add(self, tokens: int) -> None:
        """Count one forward pass."""
        self.forward_passes += 1
        self.tokens += tokens


@dataclass(frozen=True)
class Rows:
    """Activations of one batch. ``values``: float32 ``(rows, layers, d_model)``; ``index``: row -> sequence."""

    index: Sequence[int]
    values: NDArray[np.float32]


def read_activations(
    model: Model,
    sequences: Sequence[CompletedTokens],
    layers: Sequence[int],
    read: ReadPosition,
    work: Work | None = None,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> Iterator[Rows]:
    """The residual stream after each of ``layers`` at the read position of every sequence, batch by batch.

    Neither the LM head nor a block above the highest layer is computed: MLX runs what is evaluated, and only the
    gathered rows are. Rows come in order of length, not of ``sequences``. ``work`` is added to.
    """
    check_read(read)
    check_layers(model, layers)
    work = work or Work()
    for batch in batches([len(s.ids) for s in sequences], tokens_per_batch):
        chosen = [sequences[i] for i in batch]
        taken: list[Step] = []
        with building, model.rows([s.ids for s in chosen], [s.prompt_end for s in chosen]) as (tokens, cache):
            with steps(model.stream, taken, max(layers) + 1):
                values = gathered(model, tokens, cache, chosen, layers, read)
            work.add(sum(len(s.ids) for s in chosen))
        evaluate(taken, values)
        yield Rows(batch, np.array(values))


def check_layers(model: Model, layers: Sequence[int]) -> None:
    """Raise ``UsageError`` where there is no layer, or one that the model does not have."""
    if not layers:
        raise UsageError("no layer is given")
    model.check_layers(layers)


def gathered(
    model: Model,
    tokens: mx.array,
    cache: list[Any],
    sequences: Sequence[CompletedTokens],
    layers: Sequence[int],
    read: ReadPosition,
) -> mx.array:
    """``tokens``, the right-padded ids of ``sequences``, run and read: float32 ``(rows, layers, d_model)``, not yet
    evaluated."""
    chosen = set(layers)
    captured: dict[int, mx.array] = {}
    gather = _gatherer(sequences, read)

    def capture(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        if layer in chosen:
            captured[layer] = gather(hidden)
        return hidden

    with model.stream.tapped(capture):
        model.network(tokens, cache=cache)
    return mx.stack([captured[layer] for layer in layers], axis=1)


def _gatherer(sequences: Sequence[CompletedTokens], read: ReadPosition) -> Callable[[mx.array], mx.array]:
    """From hidden ``(rows, tokens, d_model)`` to what is read, float32 ``(rows, d_model)``."""
    if read == "mean":
        width = max(len(s.ids) for s in sequences)
        inside = mx.array([[s.start <= i < len(s.ids) for i in range(width)] for s in sequences])[..., None]
        counts = mx.array([[float(len(s.ids) - s.start)] for s in sequences])
        # Where, not a product: whatever stands on padding must not reach the sum.
        return lambda hidden: mx.sum(mx.where(inside, hidden.astype(mx.float32), 0.0), axis=1) / counts
    rows = mx.arange(len(sequences))
    tokens = mx.array([s.answer if read == "answer" else len(s.ids) - 1 for s in sequences])
    return lambda hidden: hidden[rows, tokens].astype(mx.float32)
