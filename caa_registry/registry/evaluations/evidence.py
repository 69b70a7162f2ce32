"""What evaluations show of vectors: which of them speaks for a vector, its best score there, and leaderboards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, aliased

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.filters import behavior, of_behavior, of_model
from caa_registry.registry.evaluations.layers import largest
from caa_registry.registry.evaluations.store import load
from caa_registry.registry.provenance.recalls import mark_vectors
from caa_registry.registry.records import RANDOM_NULLS, Evaluation, Evidence, Statistic, VectorVersion, check_statistic
from caa_registry.registry.rows import vector_records
from caa_registry.registry.workspace import Workspace


def evidence(workspace: Workspace, vectors: Sequence[VectorVersion], metric: Statistic) -> dict[str, Evidence]:
    """By digest of each of ``vectors`` its evidence: in the evaluation that speaks for it (``speaking``), the layer
    where ``metric`` is largest. A layer chosen on the items it is shown for looks better than it is."""
    check_statistic(metric)
    with workspace.database.read() as session:
        ids = speaking(session, among(session, t.Evaluation.vector_version_id, [vector.id for vector in vectors]))
        return _evidence(vectors, _evaluations(session, ids, metric), metric)


def leaderboard(
    workspace: Workspace, behavior_name: str | None, model: str | None, metric: Statistic
) -> list[Evidence]:
    """The evidence of every version of every vector, those for one behavior and model together, best first."""
    check_statistic(metric)
    with workspace.database.read() as session:
        conditions = [] if behavior_name is None else [of_behavior(behavior_name)]
        conditions += [] if model is None else [of_model(model)]
        ids = speaking(session, *conditions)
        shown = select(t.Evaluation.vector_version_id).where(among(session, t.Evaluation.id, ids))
        vectors = mark_vectors(session, vector_records(session, shown))
        ranked = _evidence(vectors, _evaluations(session, ids, metric), metric).values()
    return sorted(ranked, key=lambda e: (e.vector.behavior, e.vector.model.name, -e.score.value))


def speaking(session: Session, *conditions: ColumnElement[bool]) -> list[int]:
    """The ids of the evaluations that speak for vectors, one for each vector that has any.

    It is on the vector's own behavior, at two multipliers or more, and asks no leaked question; with a null rather
    than without, of the most layers, the newest of equals. ``conditions``: of the evaluation, the vector version, the
    vector's dataset version and its model.
    """
    evaluation, vector, score = t.Evaluation, t.VectorVersion, t.Score
    asked, asked_dataset = aliased(t.DatasetVersion), aliased(t.Dataset)
    recorded = evaluation.parameters
    leaked = [func.coalesce(recorded["leaked", how].as_integer(), 0) == 0 for how in ("same", "near")]
    slopes = select(score.position).where(
        score.evaluation_id == evaluation.id, score.condition == "vector", score.metric == "steerability"
    )
    controlled = _length(session, recorded["beside", "controls"]) > 0
    best_first = controlled.desc(), _length(session, recorded["layers"]).desc(), evaluation.id.desc()
    ranked = (
        select(
            evaluation.id,
            func.row_number().over(partition_by=evaluation.vector_version_id, order_by=best_first).label("rank"),
        )
        .join(vector, vector.id == evaluation.vector_version_id)
        .join(t.DatasetVersion, t.DatasetVersion.id == vector.dataset_version_id)
        .join(t.Dataset, t.Dataset.id == t.DatasetVersion.dataset_id)
        .join(t.Model, t.Model.id == vector.model_id)
        .join(asked, asked.id == evaluation.dataset_version_id)
        .join(asked_dataset, asked_dataset.id == asked.dataset_id)
        .where(
            evaluation.deleted_at.is_(None),
            vector.deleted_at.is_(None),
            behavior() == behavior(asked, asked_dataset),
            *leaked,
            slopes.exists(),
            *conditions,
        )
        .subquery()
    )
    return list(session.scalars(select(ranked.c.id).where(ranked.c.rank == 1)))


def _length(session: Session, array: Any) -> ColumnElement[int]:
    """How many elements a JSON array has; 0 where there is none."""
    postgresql = session.get_bind().dialect.name == "postgresql"
    return func.coalesce(func.jsonb_array_length(array) if postgresql else func.json_array_length(array), 0)


def _evaluations(session: Session, ids: Sequence[int], metric: Statistic) -> list[Evaluation]:
    """The evaluations of ``ids`` with the scores that evidence by ``metric`` is made of."""
    those = select(t.Evaluation.id).where(among(session, t.Evaluation.id, ids))
    kept = {metric, f"p_chosen_{metric}", "steerability", "letter_slope"}
    conditions = {"vector", *RANDOM_NULLS}
    return load(session, those, lambda score: score.metric in kept and score.condition in conditions)


def _evidence(
    vectors: Sequence[VectorVersion], evaluations: Sequence[Evaluation], metric: Statistic
) -> dict[str, Evidence]:
    by_vector = {evaluation.vector: evaluation for evaluation in evaluations}
    evidence: dict[str, Evidence] = {}
    for vector in vectors:
        evaluation = by_vector.get(vector.reference)
        score = largest(evaluation, metric) if evaluation else None
        if evaluation is not None and score is not None:
            layer, name = score.layer, evaluation.null or ""
            null, p_value = (evaluation.at(layer, each, name) for each in (metric, f"p_chosen_{metric}"))
            evidence[vector.digest] = Evidence(
                vector,
                evaluation,
                score,
                null,
                p_value.value if p_value else None,
                evaluation.is_letter_vector(layer),
            )
    return evidence
