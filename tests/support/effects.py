"""Side effects in one call, as evaluations measure them in two."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from caa_registry.engine.texts import Part
from caa_registry.evaluation.side_effects.measure import SideEffects, TokenizedText, joined, measure
from caa_registry.models.model import Model
from caa_registry.progress import Progress, silent
from caa_registry.vectors import VectorSet


def side_effects(
    model: Model,
    vectors: VectorSet,
    text: TokenizedText,
    layers: Sequence[int],
    multipliers: Sequence[float],
    progress: Progress = silent,
    keep: Callable[[Part], None] = lambda part: None,
) -> list[SideEffects]:
    """At every layer and multiplier, in that order."""
    parts: list[Part] = []

    def found(part: Part) -> None:
        keep(part)
        parts.append(part)

    measure(model, vectors, text, layers, multipliers, progress, keep=found)
    return joined(text, layers, multipliers, parts)
