"""Two evaluations compared, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from caa_registry.cli import output
from caa_registry.cli.dose_table import SIDES
from caa_registry.wording import named_layers

if TYPE_CHECKING:
    from caa_registry.evaluation.comparison import Compared
    from caa_registry.registry.records import Evaluation

_NAMES = {"log_odds": "log-odds"}


def say_comparison(first: Evaluation, second: Evaluation, compared: Sequence[Compared], *, every_layer: bool) -> None:
    """What was compared, a row for each comparison, and which layers were left out where every common one was
    asked for."""
    from caa_registry.evaluation.inference.caveats import of_comparison

    for name, e in (("one", first), ("other", second)):
        output.paragraph(f"{name}: evaluation {e.id}, {e.vector} on {e.dataset} ({e.split}), model {e.model.name}")
    if compared[0].dose is None:
        output.paragraph(
            "Note: the dose was not measured in both, so they are compared at the multipliers that both have. A longer "
            "vector does more there. Evaluate again to compare at equal dose: caa eval propensity"
        )
    rows = [
        (
            _NAMES.get(c.metric, c.metric),
            str(c.layer) if c.layer == c.other_layer else f"{c.layer}, {c.other_layer}",
            "" if c.dose is None else f"{c.dose:g}{SIDES[c.sides or 'both']}",
            *(output.figure(x) for x in (c.one, c.other, c.difference.value)),
            output.between(c.difference.low, c.difference.high),
            c.difference.n,
            *(f"{p:.4f}" for p in (c.p_value, c.p_holm)),
        )
        for c in compared
    ]
    columns = ["metric", "layer", "dose", "one", "other", "difference", "95 %", "n", "p", "p, Holm"]
    output.table(columns, rows, empty="")
    few = of_comparison(min(each.clusters for each in compared))
    if few:
        output.paragraph(f"Warning: {few.text}")
    if every_layer:
        shared = set(first.settings.layers) & set(second.settings.layers)
        left = sorted(shared - {c.layer for c in compared})
        if left:
            output.paragraph(f"Note: without a common dose, and left out: {named_layers(left)}.")
