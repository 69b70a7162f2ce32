"""What came of a plan: its statistic at the planned layers, and its conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from caa_registry.display.records import Record, Table

if TYPE_CHECKING:
    from caa_registry.registry.records.evidence import Statistic


@dataclass(frozen=True)
class PlannedCondition(Record):
    """A condition of a plan: ``figure`` decides whether it is ``met``."""

    name: str
    met: bool
    figure: str


@dataclass(frozen=True)
class PlannedLayer(Record):
    """What a plan's statistic is at a layer. ``p_value``: of that layer where it is the only one, else of the largest
    of all planned. ``detectable``: the smallest that the questions would show."""

    layer: int
    value: float
    low: float | None
    high: float | None
    n: int
    p_value: float | None
    detectable: float | None
    clusters: int | None


@dataclass(frozen=True)
class PlannedOutcome(Table):
    """What came of a plan. ``layers``: all that were planned; ``layer``: the one that the conditions are about, where
    the statistic is largest in the planned direction."""

    _facts: ClassVar = "met statistic layer layers"

    statistic: Statistic
    layers: tuple[PlannedLayer, ...]
    layer: int
    conditions: tuple[PlannedCondition, ...]

    def _rows(self) -> Sequence[PlannedCondition]:
        return self.conditions

    @property
    def met(self) -> bool:
        return all(condition.met for condition in self.conditions)
