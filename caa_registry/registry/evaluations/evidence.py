"""What evaluations show of vectors: which of them speaks for a vector, and its best score there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.orm import Session, aliased

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.filters import behavior, vector_behavior
from caa_registry.evaluation.doses.ladder import LARGEST_DOSE
from caa_registry.registry.evaluations.layers import largest
from caa_registry.registry.evaluations.store import load
from caa_registry.registry.records import (
    RANDOM_NULLS,
    Evaluation,
    Evidence,
    Score,
    Statistic,
    VectorVersion,
    check_statistic,
)
from caa_registry.registry.workspace import Workspace


def evidence(workspace: Workspace, vectors: Sequence[VectorVersion], metric: Statistic) -> dict[str, Evidence]:
    """By digest of each of ``vectors`` its evidence: in the evaluation that speaks for it (``speaking``), the layer
    where ``metric`` is largest. A layer chosen on the items it is shown for looks better than it is."""
    check_statistic(metric)
    with workspace.database.read() as session:
        ids = speaking(session, among(session, t.Evaluation.vector_version_id, [vector.id for vector in vectors]))
        by_vector = {evaluation.vector: evaluation for evaluation in evaluations_of(session, ids, metric)}
    found: dict[str, Evidence] = {}
    for vector in vectors:
        evaluation = by_vector.get(vector.reference)
        score = largest(evaluation, metric) if evaluation else None
        if evaluation is not None and score is not None:
            found[vector.digest] = evidence_of(vector, evaluation, metric, score)
    return found


def speaking(session: Session, *conditions: ColumnElement[bool]) -> list[int]:
    """The ids of the evaluations that speak for vectors, one for each vector that has any.

    It is on the vector's own behavior and on its own model, at two multipliers or more, and asks no question that is
    known to be leaked; with its dose measured
    rather than without, then with a null rather than without, of the most layers, the newest of equals.
    ``conditions``: of the evaluation, the vector version, the vector's dataset version and its model.
    """
    evaluation, vector, score = t.Evaluation, t.VectorVersion, t.Score
    asked, asked_dataset, on = aliased(t.DatasetVersion), aliased(t.Dataset), aliased(t.Model)
    recorded = evaluation.parameters
    leaked = [func.coalesce(recorded["leaked", how].as_integer(), 0) == 0 for how in ("same", "near")]

    def has(metric: str) -> ColumnElement[bool]:
        own = score.evaluation_id == evaluation.id, score.condition == "vector", score.metric == metric
        return select(score.position).where(*own).exists()

    controlled = _length(session, recorded["beside", "controls"]) > 0
    dosed = case((has(LARGEST_DOSE), 1), else_=0)
    best_first = dosed.desc(), controlled.desc(), _length(session, recorded["layers"]).desc(), evaluation.id.desc()
    ranked = (
        select(
            evaluation.id,
            func.row_number().over(partition_by=evaluation.vector_version_id, order_by=best_first).label("rank"),
        )
        .join(vector, vector.id == evaluation.vector_version_id)
        .outerjoin(t.DatasetVersion, t.DatasetVersion.id == vector.dataset_version_id)
        .outerjoin(t.Dataset, t.Dataset.id == t.DatasetVersion.dataset_id)
        .join(t.Model, t.Model.id == vector.model_id)
        .join(on, on.id == evaluation.model_id)
        .join(asked, asked.id == evaluation.dataset_version_id)
        .join(asked_dataset, asked_dataset.id == asked.dataset_id)
        .where(
            evaluation.deleted_at.is_(None),
            vector.deleted_at.is_(None),
            _same_weights(on),
            vector_behavior() == behavior(asked, asked_dataset),
            *leaked,
            has("steerability"),
            *conditions,
        )
        .subquery()
    )
    return list(session.scalars(select(ranked.c.id).where(ranked.c.rank == 1)))


def _same_weights(on: Any) -> ColumnElement[bool]:
    """That the model ``on`` has the weights of the vector's model: ``Fingerprint.same_weights`` in SQL."""
    own = t.Model
    tensors = and_(own.tensors.is_not(None), on.tensors.is_not(None))
    same = case((tensors, own.tensors == on.tensors), else_=own.weights == on.weights)
    return and_(own.adapter.is_not_distinct_from(on.adapter), same)


def _length(session: Session, array: Any) -> ColumnElement[int]:
    """How many elements a JSON array has; 0 where there is none."""
    postgresql = session.get_bind().dialect.name == "postgresql"
    return func.coalesce(func.jsonb_array_length(array) if postgresql else func.json_array_length(array), 0)


def evaluations_of(session: Session, ids: Sequence[int], metric: Statistic, *more: str) -> list[Evaluation]:
    """The evaluations of ``ids`` with the scores that evidence by ``metric`` is made of, and ``more``."""
    those = select(t.Evaluation.id).where(among(session, t.Evaluation.id, ids))
    kept = {metric, f"p_chosen_{metric}", "steerability", "letter_slope", *more}
    conditions = {"vector", *RANDOM_NULLS}
    return load(session, those, lambda score: score.metric in kept and score.condition in conditions)


def evidence_of(vector: VectorVersion, evaluation: Evaluation, metric: Statistic, score: Score) -> Evidence:
    """What ``evaluation`` shows of ``vector`` by ``score``, which is ``metric`` at a layer, or that at a dose."""
    name = evaluation.null or ""
    # Vectors of a null are measured at the extremes only, and are nothing to hold against what is done at a dose.
    null = evaluation.at(score.layer, metric, name) if score.metric == metric else None
    p_value = evaluation.at(score.layer, f"p_chosen_{metric}", name)
    letter = evaluation.is_letter_vector(score.layer)
    return Evidence(vector, evaluation, score, null, p_value.value if p_value else None, letter)
