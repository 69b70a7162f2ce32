"""Vectors with what their evaluations show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from caa_registry.cli import output
from caa_registry.cli.dose_table import SIDES

if TYPE_CHECKING:
    from caa_registry.registry.records import Evidence, Ranked, VectorVersion

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
            shown.append((vector.reference, vector.model_name, *[""] * 5, note))
            continue
        score = evidence.score
        shown.append(
            (
                vector.reference,
                vector.model_name,
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


def ranking_table(ranking: Sequence[Ranked], metric: str) -> None:
    """Those that have a rank, then those that have none, why, and what would give them one."""
    ranked = [ranked for ranked in ranking if ranked.rank is not None]
    others = [ranked for ranked in ranking if ranked.rank is None]
    names = ["rank", "behavior", "vector", "model", "layer", "dose", _NAMES[metric], "95 %", "p", "p, Holm", "verdict"]
    if ranked or not others:
        output.table([*names, "eval", "note"], [_ranked(ranked) for ranked in ranked], empty=_EMPTY)
        _say_questions([ranked.evidence for ranked in ranked])
    if others:
        if ranked:
            output.line()
        columns = ["vector", "verdict", "eval", "note", "not ranked:"]
        output.table(columns, [_unranked(ranked) for ranked in others], empty="")
        commands = list(dict.fromkeys(ranked.measure for ranked in others if ranked.measure))
        for command in commands[:_COMMANDS]:
            output.message(f"To rank it: {command}")
        if len(commands) > _COMMANDS:
            output.message(f"{len(commands) - _COMMANDS:,} more such commands are in --json.")


def _ranked(ranked: Ranked) -> tuple[object, ...]:
    evidence = ranked.evidence
    vector, score = evidence.vector, evidence.score
    return (
        ranked.rank,
        vector.behavior,
        vector.reference,
        vector.model_name,
        str(score.layer),
        f"{ranked.dose:g}{SIDES[ranked.sides or 'both']}",
        output.figure(score.value),
        output.interval(score),
        output.figure(evidence.p_value),
        output.figure(ranked.p_holm),
        ranked.verdict,
        str(evidence.evaluation.id),
        ", ".join(_remarks(evidence)),
    )


def _unranked(ranked: Ranked) -> tuple[object, ...]:
    evidence = ranked.evidence
    vector, remarks = evidence.vector, ", ".join(_remarks(evidence))
    shown = vector.reference, ranked.verdict, str(evidence.evaluation.id)
    return *shown, remarks, ranked.reason


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
    return [
        evidence.evaluation.standing.note,
        *["LETTER"] * evidence.letter,
        *["leaks unknown"] * evidence.evaluation.leaks_unknown,
        *["quarantined"] * bool(quarantined),
    ]  # fmt: skip
