"""What a vector brings to a leaderboard, and why it cannot be ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caa_registry.evaluation.doses.ladder import DOSES, LARGEST_DOSE, DoseSides, score_at, sides_of
from caa_registry.registry.records import Evaluation, Score, VectorVersion
from caa_registry.wording import subject

_SAID = {"both": "on both sides of 0", "up": "above 0", "down": "below 0"}
# How much further out than needed, so that the dose is reached where it grows more slowly.
_BEYOND = 1.25


@dataclass(frozen=True)
class Candidate:
    """A vector and the evaluation that speaks for it. ``at``: by dose its score at the layer where that is largest.
    ``largest``: the largest dose of any layer, nats per token; ``None`` where no dose was measured."""

    vector: VectorVersion
    evaluation: Evaluation
    sides: DoseSides | None
    at: Mapping[float, Score]
    largest: float | None

    @property
    def comparable(self) -> bool:
        """Whether it has a score with an interval at any dose."""
        return any(score.ci_low is not None for score in self.at.values())


def candidate(vector: VectorVersion, evaluation: Evaluation, statistic: str) -> Candidate:
    """``statistic``: ``effect`` or ``log_odds``."""
    best: dict[float, Score] = {}
    for dose in DOSES:
        scores = evaluation.of(score_at(statistic, dose))
        if scores:
            best[dose] = max(scores, key=lambda score: score.value)
    reached = [score.value for score in evaluation.of(LARGEST_DOSE)]
    multipliers = evaluation.settings.multipliers
    return Candidate(vector, evaluation, sides_of(multipliers), best, max(reached, default=None))


def unranked(one: Candidate, dose: float | None, sides: DoseSides | None) -> tuple[str, str]:
    """Why a vector is not ranked at ``dose`` on ``sides``, and the command that makes up for it, or ``""``."""
    multipliers = one.evaluation.settings.multipliers
    wanted = dose or DOSES[0]
    if one.largest is None and (0 in multipliers or one.sides == "both"):
        return "its dose was not measured", _command(one, multipliers)
    if sides is not None and one.sides is not None and one.sides != sides:
        return f"it was measured {_SAID[one.sides]} only, others {_SAID[sides]}", _command(one, multipliers)
    score = one.at.get(wanted)
    if score is not None:
        return f"{subject(score.n, 'question')} too few for an interval", ""
    if one.largest is None or (one.largest >= wanted and 0 not in multipliers):
        return "multiplier 0 was not measured", _command(one, multipliers)
    if one.largest >= wanted:
        nearest = min(abs(multiplier) for multiplier in multipliers if multiplier)
        reason = f"its smallest multiplier is far beyond {wanted:g} nats per token"
        return reason, _command(one, [nearest / 4, nearest / 2, nearest])
    return f"it reaches {one.largest:.2g} nats per token, not {wanted:g}", _further(one, wanted)


def _further(one: Candidate, dose: float) -> str:
    """The command that reaches ``dose``; none where steering does nothing to the model at all."""
    if not one.largest:
        return ""
    widest = max(map(abs, one.evaluation.settings.multipliers))
    widest = float(f"{_BEYOND * widest * math.sqrt(dose / one.largest):.2g}")
    return _command(one, [widest / 2, widest])


def _command(one: Candidate, multipliers: Sequence[float]) -> str:
    """The evaluation once more, on both sides of 0 and at 0."""
    evaluation = one.evaluation
    # As text they are told apart, whatever rounding made of them.
    steps = {f"{sign * multiplier + 0.0:g}" for multiplier in (0, *multipliers) for sign in (-1, 1)}
    asked = {
        "--dataset": evaluation.dataset,
        "--split": evaluation.split,
        "--multipliers": ",".join(sorted(steps, key=float)),
    }
    return " ".join(["caa eval propensity", evaluation.vector, *(f"{name} {value}" for name, value in asked.items())])
