"""Evaluations as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caa_registry.wire.plans import standing_json

if TYPE_CHECKING:
    from caa_registry.evaluation.categories import CategoryScores
    from caa_registry.evaluation.comparison import Compared
    from caa_registry.evaluation.cross_behavior import CrossBehavior
    from caa_registry.evaluation.doses.shape import CurveShape
    from caa_registry.evaluation.inference.caveats import Caveat
    from caa_registry.evaluation.open_ended.rubrics import Rubric
    from caa_registry.registry.records import (
        Answer,
        Calibrated,
        Evaluation,
        EvaluationVerification,
        Evidence,
        Judged,
        Ranked,
    )


def evaluation_json(evaluation: Evaluation, shapes: Sequence[CurveShape] | None = None) -> dict[str, Any]:
    """An evaluation and its scores, and the shapes of its dose-response where they are given."""
    return {
        "evaluation": evaluation.id,
        "kind": evaluation.kind,
        "vector": evaluation.vector,
        "dataset": evaluation.dataset,
        "behavior": evaluation.behavior,
        "split": evaluation.split,
        "model": evaluation.model.name,
        "fingerprint": evaluation.model.fingerprint.digest,
        "metric": evaluation.metric,
        "positions": evaluation.positions,
        "template": evaluation.template,
        "parameters": evaluation.settings.to_json(),
        **standing_json(evaluation.standing),
        "leaked": evaluation.leaked,
        "leaks_unknown": evaluation.leaks_unknown,
        "quarantined": evaluation.quarantined,
        "created_at": evaluation.created_at.isoformat(),
        "unchecked_before": evaluation.unchecked_before.isoformat() if evaluation.unchecked_before else None,
        "scores": [dataclasses.asdict(score) for score in evaluation.scores],
        **({} if shapes is None else {"shapes": [dataclasses.asdict(shape) for shape in shapes]}),
    }


def evaluation_verification_json(found: EvaluationVerification) -> dict[str, Any]:
    """What checking an evaluation again found. All scores that were measured again are there."""
    return {
        "evaluation": found.evaluation,
        "kind": found.kind,
        "vector": found.vector,
        "dataset": found.dataset,
        "holds": found.holds,
        "same_bits": found.same_bits if found.scores else None,
        "questions": found.questions,
        "figures": found.figures,
        "answers": found.answers,
        "ratings": found.ratings,
        "differences": list(found.differences),
        "environment": list(found.environment),
        "scores": [{**dataclasses.asdict(each), "holds": each not in found.apart} for each in found.scores],
        "items": [{**dataclasses.asdict(each), "holds": each not in found.items_apart} for each in found.items],
        "left_out": list(found.left_out),
        "tolerance": found.tolerance if found.scores else None,
        "run": found.run,
    }


def caveats_json(caveats: Sequence[Caveat]) -> dict[str, Any]:
    """What stands beside an evaluation's own JSON: where its numbers mean little."""
    return {"warnings": [dataclasses.asdict(caveat) for caveat in caveats]}


def judgement_json(judged: Judged) -> dict[str, Any]:
    """One pass of a judge over the answers of an evaluation."""
    return {
        "judgement": judged.id,
        "judge": judged.judge,
        "rated": len(judged.ratings) - judged.unparsable,
        "unparsable": judged.unparsable,
        "ratings": [
            {"position": position, "value": value, "reply": judged.replies[position]}
            for position, value in judged.ratings.items()
        ],
        "created_at": judged.created_at.isoformat(),
    }


def answer_json(answer: Answer, judgements: Sequence[Judged]) -> dict[str, Any]:
    """An answer of an open-ended evaluation with a rating of each judgement."""
    return {**dataclasses.asdict(answer), "ratings": [judged.ratings[answer.position] for judged in judgements]}


def rubric_json(rubric: Rubric) -> dict[str, Any]:
    """A rubric as a judge reads it, with its digest."""
    return {**dataclasses.asdict(rubric), "digest": rubric.digest}


def evidence_json(evidence: Evidence | None) -> dict[str, Any]:
    """What stands beside a vector's own JSON: its score at its best layer. Empty where there is none."""
    if evidence is None:
        return {}
    score, null = evidence.score, evidence.null
    return {
        "evidence": {
            "evaluation": evidence.evaluation.id,
            "dataset": evidence.evaluation.dataset,
            "split": evidence.evaluation.split,
            "metric": score.metric,
            "layer": score.layer,
            "value": score.value,
            "ci_low": score.ci_low,
            "ci_high": score.ci_high,
            "n": score.n,
            "null": [null.ci_low, null.ci_high] if null else None,
            "p_value": evidence.p_value,
            "letter_vector": evidence.letter,
            **standing_json(evidence.evaluation.standing),
        }
    }


def ranked_json(ranked: Ranked) -> dict[str, Any]:
    """What stands beside a vector's own JSON in a leaderboard: its evidence, and its place."""
    return {
        **evidence_json(ranked.evidence),
        "ranking": {
            "dose": ranked.dose,
            "sides": ranked.sides,
            "rank": ranked.rank,
            "p_holm": ranked.p_holm,
            "verdict": ranked.verdict,
            "reason": ranked.reason,
            "measure": ranked.measure,
        },
    }


def comparison_json(one: Evaluation, other: Evaluation, comparisons: Sequence[Compared]) -> dict[str, Any]:
    """Two evaluations compared on the questions that both have."""
    from caa_registry.evaluation.inference.caveats import of_comparison

    few = of_comparison(min(each.clusters for each in comparisons))
    shown = {"one": one.id, "other": other.id, "comparisons": [dataclasses.asdict(c) for c in comparisons]}
    return {**shown, **caveats_json([few] if few else [])}


def calibration_json(calibrated: Calibrated) -> dict[str, Any]:
    """What a calibration found, and the evaluations that it rests on."""
    return {
        "vector": calibrated.vector.reference,
        "propensity": calibrated.propensity.id,
        "side_effects": calibrated.side_effects.id,
        "answers": [evaluation.id for evaluation in calibrated.answers],
        "extended": [evaluation.id for evaluation in calibrated.extended],
        "alias": calibrated.alias.reference if calibrated.alias else None,
        "letter_layers": list(calibrated.propensity.letter_layers),
        "verdict": [dataclasses.asdict(c) for c in calibrated.verdict.conditions] if calibrated.verdict else None,
        **dataclasses.asdict(calibrated.calibration),
    }


def categories_json(scores: Mapping[float, CategoryScores]) -> list[dict[str, Any]]:
    """Scores by category of the questions, for each multiplier."""
    return [{"multiplier": multiplier, **dataclasses.asdict(each)} for multiplier, each in scores.items()]


def cross_json(cross: CrossBehavior, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """The effect of every vector on every behavior's questions."""
    return {
        "evaluations": [evaluation.id for evaluation in evaluations],
        "effects": [
            {"vector": vector, "behavior": behavior, **dataclasses.asdict(effect)}
            for (vector, behavior), effect in cross.effects.items()
        ],
        "dominance": {vector: dataclasses.asdict(dominance) for vector, dominance in cross.dominance.items()},
    }
