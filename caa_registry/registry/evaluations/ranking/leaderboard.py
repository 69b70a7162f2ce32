"""Vectors ranked by what they do at equal dose, each at its best layer, and those that cannot be ranked."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.filters import of_model, of_vector_behavior, tagged
from caa_registry.evaluation.doses.ladder import DOSES, LARGEST_DOSE, DoseSides, check_dose, score_at
from caa_registry.registry.evaluations.calibration.outcomes import outcomes
from caa_registry.registry.evaluations.evidence import evaluations_of, evidence_of, speaking
from caa_registry.registry.evaluations.layers import largest
from caa_registry.registry.evaluations.ranking.candidates import Candidate, candidate, unranked
from caa_registry.registry.provenance.recalls import mark_vectors
from caa_registry.registry.records import (
    Ranked,
    Recommendation,
    Score,
    Statistic,
    VectorVersion,
    check_statistic,
)
from caa_registry.registry.rows import vector_records
from caa_registry.registry.workspace import Workspace

MOST = 0.1
"""Nats per token: no group is ranked at a larger dose unless it is asked for. Up to there effects still grow in
proportion, and text is hardly touched."""

# The scores that stand for a statistic at a dose.
_AT_DOSE = {"steerability": "log_odds", "effect": "effect"}
_NO_VERDICT = "not calibrated"


def leaderboard(
    workspace: Workspace,
    behavior_name: str | None,
    model: str | None,
    metric: Statistic,
    dose: float | None,
    tags: Mapping[str, str] | None = None,
) -> list[Ranked]:
    """Every version of every vector that has evidence, those for one behavior and model together, best first and those
    without a rank last. ``dose``: one of ``DOSES``; by default of each group the largest up to 0.1 that all reach which
    reach any."""
    check_statistic(metric)
    if dose is not None:
        check_dose(dose)
    statistic = _AT_DOSE[metric]
    with workspace.database.read() as session:
        conditions = [] if behavior_name is None else [of_vector_behavior(behavior_name)]
        conditions += [] if model is None else [of_model(model)]
        conditions += [tagged(tags, t.VectorVersion)] if tags else []
        ids = speaking(session, *conditions)
        rungs = [score_at(statistic, each) for each in DOSES]
        by_vector = {each.vector: each for each in evaluations_of(session, ids, metric, LARGEST_DOSE, *rungs)}
        shown = select(t.Evaluation.vector_version_id).where(among(session, t.Evaluation.id, ids))
        vectors = mark_vectors(session, vector_records(session, shown))
        verdicts = _verdicts(session, vectors)
    groups: dict[tuple[str, str, str], list[Candidate]] = {}
    for vector in vectors:
        model_digest = vector.model.fingerprint.digest if vector.model else ""
        key = vector.behavior, vector.model_name, model_digest
        groups.setdefault(key, []).append(candidate(vector, by_vector[vector.reference], statistic))
    return [ranked for key in sorted(groups) for ranked in _standings(groups[key], metric, dose, verdicts)]


def _standings(
    group: Sequence[Candidate], metric: Statistic, dose: float | None, verdicts: Mapping[int, str]
) -> list[Ranked]:
    """One group, best first."""
    sides = _sides(group)
    comparable = [each for each in group if each.comparable and each.sides == sides]
    at = _common(comparable) if dose is None else dose
    scores = {each.vector.id: each.at[at] for each in comparable if at in each.at} if at is not None else {}
    places = dict(zip(scores, ranks(list(scores.values())), strict=True))
    found: list[Ranked] = []
    for each in group:
        id = each.vector.id
        score = scores.get(id) or largest(each.evaluation, metric)
        assert score is not None, "an evaluation that speaks for a vector has the statistics of its layers"
        reason, measure = unranked(each, at, sides) if id not in places else ("", "")
        evidence = evidence_of(each.vector, each.evaluation, metric, score)
        verdict = verdicts.get(id, _NO_VERDICT)
        found.append(Ranked(evidence, at, sides, places.get(id), None, verdict, reason, measure))
    return sorted(_corrected(found), key=_order)


def _order(ranked: Ranked) -> tuple[float, float, str, int]:
    if ranked.rank is None:
        return math.inf, 0.0, ranked.vector.name, ranked.vector.number
    return ranked.rank, -ranked.evidence.score.value, ranked.vector.name, ranked.vector.number


def _sides(group: Sequence[Candidate]) -> DoseSides | None:
    """What the group is ranked by: both sides of 0 where anybody was measured on both, else above 0."""
    measured = {each.sides for each in group if each.comparable}
    every: tuple[DoseSides, ...] = ("both", "up", "down")
    return next((sides for sides in every if sides in measured), None)


def _common(comparable: Sequence[Candidate]) -> float | None:
    """The dose that most of them reach, which are all but for those without multiplier 0; the largest of equals."""
    reached = {dose: sum(dose in each.at for each in comparable) for dose in DOSES if dose <= MOST}
    best = max(reached, key=lambda dose: (reached[dose], dose))
    return best if reached[best] else None


def ranks(scores: Sequence[Score]) -> list[int]:
    """One more than how many intervals lie wholly above each, as the Chatbot Arena ranks (Chiang et al. 2024). All
    scores have an interval."""
    lows = sorted(score.ci_low for score in scores if score.ci_low is not None)
    return [1 + len(lows) - bisect_right(lows, score.ci_high or 0.0) for score in scores]


def _corrected(group: Sequence[Ranked]) -> list[Ranked]:
    """With the p-values of all that have one corrected together."""
    from caa_registry.evaluation.inference.p_values import holm

    tested = [i for i, ranked in enumerate(group) if ranked.evidence.p_value is not None]
    corrected = dict(zip(tested, holm([group[i].evidence.p_value or 0.0 for i in tested]), strict=True))
    return [replace(ranked, p_holm=corrected.get(i)) for i, ranked in enumerate(group)]


def _verdicts(session: Session, vectors: Sequence[VectorVersion]) -> dict[int, str]:
    """By id of a vector version the verdict of an alias of it; of several, the one with the fewest reservations. Where
    none has a recommendation, what its newest calibration came to."""
    those = among(session, t.Alias.vector_version_id, [vector.id for vector in vectors])
    found: dict[int, list[str]] = {}
    for alias in session.scalars(select(t.Alias).where(those).order_by(t.Alias.name)):
        verdict = Recommendation.from_json(alias.recommendation).verdict if alias.recommendation else ""
        if verdict and alias.vector_version_id is not None:
            found.setdefault(alias.vector_version_id, []).append(verdict)
    calibrated = {id: outcome.summary for id, outcome in outcomes(session, [vector.id for vector in vectors]).items()}
    return calibrated | {id: max(verdicts, key=_rank_of) for id, verdicts in found.items()}


def _rank_of(verdict: str) -> int:
    return 2 if verdict == "passed" else int(verdict.startswith("accepted"))
