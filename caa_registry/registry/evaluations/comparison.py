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
    def places(self) -> dict[str, int]:
        """By digest of a pair the place of its item, of repeated pairs the first."""
        rows = list(enumerate(self.measured.vector.rows))
        return {self.items[row].digest: place for place, row in reversed(rows)}


def check_layers(layer: int | None, other_layer: int | None) -> list[tuple[int, int]] | None:
    """Which layer is compared with which; ``None``: each that both have with itself. Raises ``UsageError``."""
    if layer is None:
        if other_layer is not None:
            raise UsageError("the other layer has no counterpart", "Give --layer too.")
        return None
    return [(layer, layer if other_layer is None else other_layer)]


def compare(one: Side, other: Side, layers: Sequence[tuple[int, int]] | None) -> list[Compared]:
    """Steerability and effect of both on their common items. See ``evaluation.comparison``."""
    from caa_registry.evaluation.comparison import compare as compare_items

    places = other.places
    common = [(place, places[digest]) for digest, place in one.places.items() if digest in places]
    return compare_items(one.measured, other.measured, common, layers)
