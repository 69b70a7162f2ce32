"""The cross-behavior matrix: what the vector of one behavior does to the scores of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from caa_registry.display.records import Record, Row, Table
from caa_registry.errors import UsageError
from caa_registry.evaluation.inference.intervals import Interval


@dataclass(frozen=True)
class Dominance(Record):
    """How far a vector acts on its own behavior more than on others.

    ``own``: mean effect on its own behavior. ``other``: that with the largest mean effect in size on another,
    ``strongest``. ``share``: of the sizes of all effects in the vector's row, what falls on its own behavior in the
    intended direction: 1 where nothing else moves, 1 / behaviors where all move alike, 0 where its own goes the wrong
    way or nothing moves at all.
    """

    behavior: str
    own: float
    strongest: str
    other: float
    share: float


@dataclass(frozen=True)
class CrossBehavior(Table):
    """``effects``: by (vector, behavior) the mean effect with its 95 % interval and ``n``, every letter
    counting the same. ``dominance``: of
    each vector whose own behavior was measured beside others."""

    _facts: ClassVar = "vectors behaviors"

    vectors: tuple[str, ...]
    behaviors: tuple[str, ...]
    effects: dict[tuple[str, str], Interval]
    dominance: dict[str, Dominance]

    def _rows(self) -> Sequence[Row]:
        return [
            {"vector": vector, "behavior": behavior, **effect._as_row()}
            for (vector, behavior), effect in self.effects.items()
        ]


def cross_behavior(effects: Mapping[tuple[str, str], Interval], own: Mapping[str, str]) -> CrossBehavior:
    """The matrix of ``effects``: by (vector, behavior) the mean of propensity at +m minus that at -m. ``own``: the
    behavior that a vector was made for. Rows and columns keep the order of ``effects``.

    Raises ``UsageError`` for an empty matrix or a cell that is missing.
    """
    if not effects:
        raise UsageError("there are no effects to compare", "Measure at least one vector on one behavior.")
    vectors = tuple(dict.fromkeys(vector for vector, _ in effects))
    behaviors = tuple(dict.fromkeys(behavior for _, behavior in effects))
    for vector in vectors:
        for behavior in behaviors:
            if (vector, behavior) not in effects:
                raise UsageError(
                    f"the effect of {vector} on {behavior} is missing", "Every vector needs every behavior."
                )
    cells = {(vector, behavior): effects[vector, behavior] for vector in vectors for behavior in behaviors}
    rows = {vector: {behavior: cells[vector, behavior].value for behavior in behaviors} for vector in vectors}
    dominance = {
        vector: _dominance(own[vector], row) for vector, row in rows.items() if own.get(vector) in row and len(row) > 1
    }
    return CrossBehavior(vectors, behaviors, cells, dominance)


def _dominance(behavior: str, row: Mapping[str, float]) -> Dominance:
    strongest = max((other for other in row if other != behavior), key=lambda other: abs(row[other]))
    total = sum(abs(value) for value in row.values())
    share = max(row[behavior], 0.0) / total if total else 0.0
    return Dominance(behavior, row[behavior], strongest, row[strongest], share)
