"""The doses that figures are made of, and their names, apart from what computes them, so that listings load no numpy.

Names of scores, of a whole layer: ``effect_at_0.1`` is the change of propensity at 0.1 nats per token,
``log_odds_at_0.1`` that of the log-odds, and ``largest_dose`` what the multipliers reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from caa_registry.errors import UsageError

DOSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Nats per token. Where an evaluation reaches one, it has figures there."""

LARGEST_DOSE = "largest_dose"

DoseSides = Literal["both", "up", "down"]
"""Which multipliers an effect is of: ``both``, from the dose below 0 to that above; ``up`` and ``down``, from no
steering to the dose above 0, and from the dose below 0 to no steering."""


def score_at(statistic: str, dose: float) -> str:
    """The name of the score of ``statistic``, ``effect`` or ``log_odds``, at ``dose``."""
    return f"{statistic}_at_{dose:g}"


def check_dose(dose: float) -> float:
    """``dose`` if it is one of ``DOSES``, else ``UsageError``."""
    if dose not in DOSES:
        raise UsageError(
            f"evaluations have no figures at {dose:g} nats per token",
            f"Choose one of {', '.join(f'{each:g}' for each in DOSES)}; caa eval compare takes any.",
        )
    return dose


def sides_of(multipliers: Sequence[float]) -> DoseSides | None:
    """What figures at a dose are of: both sides where both were measured, else the one; ``None`` where there is nothing
    but 0."""
    up, down = (any(side * multiplier > 0 for multiplier in multipliers) for side in (1, -1))
    if up and down:
        return "both"
    return "up" if up else "down" if down else None
