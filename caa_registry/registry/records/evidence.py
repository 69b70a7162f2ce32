"""What evaluations show of a vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from caa_registry.errors import UsageError

if TYPE_CHECKING:
    from caa_registry.evaluation.calibration import Calibration
    from caa_registry.registry.records.alias import Alias
    from caa_registry.registry.records.evaluation import Evaluation, Score
    from caa_registry.registry.records.vector import VectorVersion

Statistic = Literal["steerability", "effect"]
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)


def check_statistic(metric: str) -> Statistic:
    """``metric`` if it is a statistic of a layer that vectors are compared by, else ``UsageError``."""
    for known in STATISTICS:
        if metric == known:
            return known
    raise UsageError(f"there is no statistic {metric!r}", f"Choose one of {', '.join(STATISTICS)}.")


@dataclass(frozen=True)
class Evidence:
    """How well a vector works at its best layer, and the evaluation that shows it.

    ``evaluation`` has the scores of that statistic only. ``null``: the middle 95 % of random directions of the
    vector's length at that layer, where they were measured.
    """

    vector: VectorVersion
    evaluation: Evaluation
    score: Score
    null: Score | None

    @property
    def outside(self) -> bool | None:
        """Whether the whole interval lies outside the null interval; ``None`` where there is none."""
        if self.null is None:
            return None
        low, high, null_low, null_high = (
            cast("float", x) for x in (self.score.ci_low, self.score.ci_high, self.null.ci_low, self.null.ci_high)
        )
        return low > null_high or high < null_low


@dataclass(frozen=True)
class Calibrated:
    """What a calibration found, and the evaluations that it rests on.

    ``answers``: the open-ended evaluations of the cells whose coherence was looked at, the chosen one last. ``alias``
    is ``None`` where no cell qualified; ``calibration.reason`` says why.
    """

    vector: VectorVersion
    propensity: Evaluation
    side_effects: Evaluation
    answers: tuple[Evaluation, ...]
    calibration: Calibration
    alias: Alias | None
