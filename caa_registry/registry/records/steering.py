"""What is to steer a model, and what does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from caa_registry.display.records import Record, Row, Table
from caa_registry.registry.records.vector import VectorVersion
from caa_registry.steering.positions import SteeredPositions

if TYPE_CHECKING:
    from caa_registry.models.folder.fingerprint import ModelInfo
    from caa_registry.models.generation import NextToken
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


@dataclass(frozen=True)
class NextTokenTable(Table):
    """The next token after a prompt, steered by a vector at each of its layers by itself, at each multiplier.

    ``layers``: layer to one list a multiplier; each lists the tokens that were asked for, else the most probable first.
    ``unsteered``: the same without steering.
    """

    _facts: ClassVar = "prompt model vector positions"

    prompt: str
    model: ModelInfo
    vector: VectorVersion
    positions: SteeredPositions
    multipliers: Sequence[float]
    unsteered: Sequence[NextToken]
    layers: Mapping[int, Sequence[Sequence[NextToken]]]

    def _rows(self) -> Sequence[Row]:
        unsteered = [{"layer": None, "multiplier": 0.0, **token._as_row()} for token in self.unsteered]
        return unsteered + [
            {"layer": layer, "multiplier": multiplier, **token._as_row()}
            for layer, lists in self.layers.items()
            for multiplier, tokens in zip(self.multipliers, lists, strict=True)
            for token in tokens
        ]
