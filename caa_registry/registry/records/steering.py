"""What is to steer a model, and what does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caa_registry.display.records import Record
from caa_registry.registry.records.vector import VectorVersion
from caa_registry.steering.positions import SteeredPositions

if TYPE_CHECKING:
    from caa_registry.steering.additions import Addition


@dataclass(frozen=True)
class Steer(Record):
    """One vector to apply.

    ``layers``: where it acts, each layer with its own vector; ``None`` takes what the alias recommends.
    ``multiplier``: ``None`` takes the recommendation's, else 1.
    """

    vector: str | VectorVersion
    layers: int | Sequence[int] | None = None
    multiplier: float | None = None


@dataclass(frozen=True)
class Steering(Record):
    """What is added to a model, and where. ``vectors``: the versions, in the order in which they were given."""

    additions: Sequence[Addition]
    positions: SteeredPositions
    vectors: Sequence[VectorVersion]
