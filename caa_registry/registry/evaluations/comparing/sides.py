"""Two evaluations on the questions that both have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caa_registry.errors import UsageError

if TYPE_CHECKING:
    from caa_registry.evaluation.comparison import Compared
    from caa_registry.evaluation.measurements import Measurements
    from caa_registry.pairs.record import PairItem


@dataclass(frozen=True, eq=False)
class Side:
    """What an evaluation measured, and all the ``items`` that it asked."""

    measured: Measurements
    items: Sequence[PairItem]

    @property
    def places(self) -> dict[tuple[str, str], int]:
        """By digest of a pair and letter of its matching answer the place of its item, of repeated pairs the first. One
        pair is two items where it was asked in both orders of its choices."""
        observed = self.measured.vector
        keys = [(self.items[row].digest, letter) for row, letter in zip(observed.rows, observed.letters, strict=True)]
        return {key: place for place, key in reversed(list(enumerate(keys)))}


def check_layers(layer: int | None, other_layer: int | None) -> list[tuple[int, int]] | None:
    """Which layer is compared with which; ``None``: each that both have with itself. Raises ``UsageError``."""
    if layer is None:
        if other_layer is not None:
            raise UsageError("the other layer has no counterpart", "Give --layer too.")
        return None
    return [(layer, layer if other_layer is None else other_layer)]


def compare(
    one: Side, other: Side, layers: Sequence[tuple[int, int]] | None, dose: float | None = None
) -> list[Compared]:
    """What both do on their common items. See ``evaluation.comparison``."""
    from caa_registry.evaluation.comparison import compare as compare_items

    places = other.places
    common = [(place, places[key]) for key, place in one.places.items() if key in places]
    return compare_items(one.measured, other.measured, common, layers, dose)
