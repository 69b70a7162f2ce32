"""What a vector does at equal doses, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from caa_registry.cli import output
from caa_registry.evaluation.doses.ladder import DOSES, LARGEST_DOSE, score_at, sides_of

if TYPE_CHECKING:
    from caa_registry.registry.records import Evaluation

SIDES = {"both": "", "up": " above 0", "down": " below 0"}
"""What stands behind a dose where an effect is of one side of 0 only."""


def dose_table(evaluation: Evaluation) -> None:
    """By layer the effect at every dose that it reaches, and the largest; nothing where the dose was not measured."""
    largest = {score.layer: score.value for score in evaluation.of(LARGEST_DOSE)}
    if not largest:
        return
    effects = {dose: {s.layer: s for s in evaluation.of(score_at("effect", dose))} for dose in DOSES}
    shown = [dose for dose in DOSES if effects[dose]]
    rows = []
    for layer, reached in largest.items():
        scores = [effects[dose].get(layer) for dose in shown]
        rows.append((layer, f"{reached:.2g}", *("" if s is None else output.figure(s.value) for s in scores)))
    side = SIDES[sides_of(evaluation.settings.multipliers) or "both"]
    click.echo()
    output.table(["layer", "largest dose", *(f"effect at {dose:g}{side}" for dose in shown)], rows, empty="")
