"""Vectors with what their evaluations show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from caa_registry.cli import output
from caa_registry.cli.dose_table import SIDES

if TYPE_CHECKING:
    from caa_registry.registry.records import Evidence, Standing, VectorVersion

_NAMES = {"steerability": "log-odds", "effect": "effect"}
# So many commands are printed; --json has all.
_COMMANDS = 5
_EMPTY = "Nothing here. Evaluate a vector: caa eval propensity VECTOR"


def evidence_table(rows: Sequence[tuple[VectorVersion, Evidence | None]], metric: str) -> None:
    """A row for each vector."""
    shown = []
    for vector, evidence in rows:
        if evidence is None:
            note = "quarantined" if vector.quarantined else ""
            shown.append((vector.reference, vector.model.name, *[""] * 5, note))
            continue
        score = evidence.score
        shown.append(
            (
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
    output.table(["vector", "model", "layer", metric, "95 %", "p", "eval", "note"], shown, empty=_EMPTY)
    _say_questions([evidence for _, evidence in rows if evidence is not None])


def standings_table(standings: Sequence[Standing], metric: str) -> None:
    """Those that have a rank, then those that have none, why, and what would give them one."""
    ranked = [standing for standing in standings if standing.rank is not None]
    others = [standing for standing in standings if standing.rank is None]
    names = ["rank", "behavior", "vector", "model", "layer", "dose", _NAMES[metric], "95 %", "p", "p, Holm", "verdict"]
    if ranked or not others:
        output.table([*names, "eval", "note"], [_ranked(standing) for standing in ranked], empty=_EMPTY)
        _say_questions([standing.evidence for standing in ranked])
    if others:
        if ranked:
            output.line()
        columns = ["vector", "behavior", "model", "verdict", "eval", "note", "not ranked:"]
        output.table(columns, [_unranked(standing) for standing in others], empty="")
        commands = list(dict.fromkeys(standing.measure for standing in others if standing.measure))
        for command in commands[:_COMMANDS]:
            output.message(f"To rank it: {command}")
        if len(commands) > _COMMANDS:
            output.message(f"{len(commands) - _COMMANDS:,} more such commands are in --json.")


def _ranked(standing: Standing) -> tuple[object, ...]:
    evidence = standing.evidence
    vector, score = evidence.vector, evidence.score
    return (
        standing.rank,
        vector.behavior,
        vector.reference,
        vector.model.name,
        str(score.layer),
        f"{standing.dose:g}{SIDES[standing.sides or 'both']}",
        output.figure(score.value),
        output.interval(score),
        output.figure(evidence.p_value),
        output.figure(standing.p_holm),
        standing.verdict,
        str(evidence.evaluation.id),
        ", ".join(_remarks(evidence)),
    )


def _unranked(standing: Standing) -> tuple[object, ...]:
    evidence = standing.evidence
    vector, remarks = evidence.vector, ", ".join(_remarks(evidence))
    shown = vector.reference, vector.behavior, vector.model.name, standing.verdict, str(evidence.evaluation.id)
    return *shown, remarks, standing.reason


def _say_questions(evidence: Sequence[Evidence]) -> None:
    if any(len(each.evaluation.settings.layers) > 1 for each in evidence):
        output.paragraph(
            "Warning: each is shown at the layer where it is largest, on the very questions that chose the layer, and "
            "looks better than it is. p is over all layers."
        )
    asked = {(e.vector.behavior, e.evaluation.dataset, e.evaluation.split) for e in evidence}
    if len(asked) > len({behavior for behavior, _, _ in asked}):
        output.paragraph(
            "Note: not all vectors of a behavior were asked the same questions (caa eval ls). Their values are not "
            "comparable."
        )


def _remarks(evidence: Evidence) -> list[str]:
    quarantined = evidence.vector.quarantined or evidence.evaluation.quarantined
    return ["LETTER"] * evidence.letter + ["quarantined"] * bool(quarantined)
