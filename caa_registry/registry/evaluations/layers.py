"""Which layer of an evaluation is best. There are two rules.

- ``largest``: where a statistic of the layer, ``steerability`` or ``effect``, is largest. Pictures, reports,
  categories, leaderboards and evidence go by it.
- ``best_layer``: where the score moves most over the multipliers without ever falling. It needs no statistic, and
  passes over layers where the score first rises and then breaks down.

Both choose on the items that are at hand: a layer looks better on those than it is.
"""

from __future__ import annotations

import itertools

from caa_registry.errors import UsageError
from caa_registry.registry.records import Evaluation, Score, Statistic
from caa_registry.wording import named_layers


def largest(evaluation: Evaluation, metric: Statistic) -> Score | None:
    """The score of the layer where ``metric`` is largest, the first of equals; ``None`` where it was not measured."""
    return max(evaluation.of(metric), key=lambda score: score.value, default=None)


def best_layer(evaluation: Evaluation) -> int:
    """The layer whose score moves most from the lowest to the highest multiplier, among those where it never falls.

    Where it falls somewhere at every layer, the one that moves most. The first of equals. Report the layer on items
    that took no part in the choice (``rows``). Raises ``UsageError`` for an evaluation with one multiplier.
    """
    scores = evaluation.of()
    if len({score.multiplier for score in scores}) < 2:
        raise UsageError(
            f"evaluation {evaluation.id} has one multiplier, which shows no effect", "Score at least two: -1,0,1."
        )
    by_layer: dict[int, list[float]] = {}
    for score in scores:
        by_layer.setdefault(score.layer, []).append(score.value)

    def merit(layer: int) -> tuple[bool, float]:
        values = by_layer[layer]
        rising = all(low <= high for low, high in itertools.pairwise(values))
        return rising, values[-1] - values[0]

    return max(by_layer, key=merit)


def shown_layer(evaluation: Evaluation, layer: int | None = None) -> int:
    """``layer``; by default the one with the largest steerability, or the first where there is one multiplier only.

    Raises ``UsageError`` for a layer that was not evaluated.
    """
    layers = evaluation.settings.layers
    if layer is None:
        steepest = largest(evaluation, "steerability")
        return layers[0] if steepest is None else steepest.layer
    if layer not in layers:
        raise UsageError(f"evaluation {evaluation.id} has no layer {layer}", f"It has {named_layers(layers)}.")
    return layer
