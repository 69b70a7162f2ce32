"""What came of plans: whether an evaluation followed one, and what its conditions came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caa_registry.registry.records.evidence import Statistic


@dataclass(frozen=True)
class Standing:
    """Whether an evaluation followed a plan that was there before it. ``reason``: why it does not count as
    confirmatory; empty where it does. ``plan``: the name of its plan, and ``run``: which of the plan's ``runs`` it is;
    empty and 0 without one."""

    confirmatory: bool
    reason: str
    plan: str = ""
    digest: str = ""
    run: int = 0
    runs: int = 0

    @property
    def word(self) -> str:
        return "confirmatory" if self.confirmatory else "exploratory"

    @property
    def note(self) -> str:
        """What listings say of it."""
        return f"{self.word}, run {self.run} of {self.runs}" if self.plan else self.word

    @property
    def sentence(self) -> str:
        """Which it is, and why."""
        of = f", run {self.run} of {self.runs} of plan {self.plan}" if self.plan else ""
        return f"{self.word.capitalize()}{of}" + (f": {self.reason}." if self.reason else ".")


UNPLANNED = Standing(False, "it has no plan")


@dataclass(frozen=True)
class PlannedCondition:
    """A condition of a plan: ``figure`` decides whether it is ``met``."""

    name: str
    met: bool
    figure: str


@dataclass(frozen=True)
class PlannedLayer:
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
class Outcome:
    """What came of a plan. ``layers``: all that were planned; ``layer``: the one that the conditions are about, where
    the statistic is largest in the planned direction."""

    statistic: Statistic
    layers: tuple[PlannedLayer, ...]
    layer: int
    conditions: tuple[PlannedCondition, ...]

    @property
    def met(self) -> bool:
        return all(condition.met for condition in self.conditions)
