"""What evaluations show of a vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from caa_registry.display.records import Record
from caa_registry.errors import UsageError

if TYPE_CHECKING:
    from caa_registry.evaluation.calibration import Calibration
    from caa_registry.evaluation.doses.ladder import DoseSides
    from caa_registry.evaluation.verdict import Verdict
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
class Evidence(Record):
    """How well a vector works at its best layer, and the evaluation that shows it.

    ``score``: of the statistic there, over the multipliers that were measured, or at a dose. ``evaluation`` has the
    scores of that statistic only. ``null``: of the vectors that mean nothing at that layer, where ``score`` is over the
    multipliers; ``p_value``: of that layer as the one chosen of all, where they were measured. ``letter``: whether the
    vector moves the answer's letter there more than the behavior.
    """

    vector: VectorVersion
    evaluation: Evaluation
    score: Score
    null: Score | None
    p_value: float | None
    letter: bool

    def _called(self) -> str:
        return self.vector.reference

    def _as_row(self) -> dict[str, Any]:
        named = {"vector": self.vector.reference, "evaluation": self.evaluation.id}
        return {**named, **self.score._as_row(), "p_value": self.p_value, "letter": self.letter}


@dataclass(frozen=True)
class Ranked(Record):
    """The place of a vector among those for its behavior and model, by what they do at one dose.

    ``dose``: nats per token, and ``sides`` of 0 that the effect is of; ``None`` where nobody in the group reaches one.
    ``rank``: one more than those whose interval lies wholly above this vector's, so that what cannot be told apart
    ties; ``None`` where it cannot be ranked: ``reason`` says why, and ``measure`` is the command that makes up for it,
    empty where none does. ``evidence``: at that dose, or over its own multipliers where it has no rank. ``p_holm``: its
    p-value, corrected for all vectors of the group that have one. ``verdict``: of a calibration, as
    ``Recommendation.verdict`` or ``CalibrationOutcome.summary`` say it, else ``not calibrated``.
    """

    _facts: ClassVar = "rank dose sides layer value ci_low ci_high p_value p_holm verdict reason measure"
    _columns: ClassVar = "vector rank layer value ci_low ci_high p_holm verdict reason"

    evidence: Evidence
    dose: float | None
    sides: DoseSides | None
    rank: int | None
    p_holm: float | None
    verdict: str
    reason: str = ""
    measure: str = ""

    def _as_row(self) -> dict[str, Any]:
        own = {
            "rank": self.rank,
            "dose": self.dose,
            "p_holm": self.p_holm,
            "verdict": self.verdict,
            "reason": self.reason,
        }
        return {**self.evidence._as_row(), **own}

    @property
    def vector(self) -> VectorVersion:
        return self.evidence.vector


@dataclass(frozen=True)
class Calibrated(Record):
    """What a calibration found, and the evaluations that it rests on.

    ``answers``: the open-ended evaluations of the cells whose coherence was looked at. ``verdict``: about the cell that
    was chosen, ``None`` where none qualified; ``calibration.reason`` then says why. ``alias`` is ``None`` unless the
    verdict allows it. ``extended``: evaluations of larger multipliers than were asked for.
    """

    _facts: ClassVar = "alias calibration verdict vector propensity side_effects answers extended"

    vector: VectorVersion
    propensity: Evaluation
    side_effects: Evaluation
    answers: tuple[Evaluation, ...]
    calibration: Calibration
    verdict: Verdict | None
    alias: Alias | None
    extended: tuple[Evaluation, ...] = ()
