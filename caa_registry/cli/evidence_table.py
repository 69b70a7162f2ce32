"""Vectors with what their evaluations show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from caa_registry.cli import output

if TYPE_CHECKING:
    from caa_registry.registry.records import Evidence, VectorVersion


def evidence_table(
    rows: Sequence[tuple[VectorVersion, Evidence | None]], metric: str, **columns: Sequence[Any]
) -> None:
    """A row for each vector. ``columns`` stand before the others."""
    shown = []
    for i, (vector, evidence) in enumerate(rows):
        before = [values[i] for values in columns.values()]
        if evidence is None:
            note = "quarantined" if vector.quarantined else ""
            shown.append((*before, vector.reference, vector.model.name, *[""] * 5, note))
            continue
        score = evidence.score
        shown.append(
            (
                *before,
                vector.reference,
                vector.model.name,
                str(score.layer),
                output.figure(score.value),
                output.interval(score),
                output.figure(evidence.p_value),
                str(evidence.evaluation.id),
                ", ".join(_remarks(evidence)),
            )
        )
    names = [*columns, "vector", "model", "layer", metric, "95 %", "p", "eval", "note"]
    output.table(names, shown, empty="Nothing here. Evaluate a vector: caa eval propensity VECTOR")
    asked = {(e.vector.behavior, e.evaluation.dataset, e.evaluation.split) for _, e in rows if e}
    if len(asked) > len({behavior for behavior, _, _ in asked}):
        output.paragraph(
            "Note: not all vectors of a behavior were asked the same questions (caa eval ls). Their values are not "
            "comparable."
        )


def _remarks(evidence: Evidence) -> list[str]:
    quarantined = evidence.vector.quarantined or evidence.evaluation.quarantined
    return [
        evidence.evaluation.standing.note, *["LETTER"] * evidence.letter, *["quarantined"] * bool(quarantined)
    ]  # fmt: skip
