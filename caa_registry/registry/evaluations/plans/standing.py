"""Whether evaluations followed a plan that was there before them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.registry.records import Evaluation, Plan, RecordedPropensity, Standing
from caa_registry.registry.workspace import Workspace

_PLAN = t.Evaluation.parameters["plan"].as_string()


@dataclass(frozen=True)
class Asked:
    """An evaluation of a vector on questions, deleted or not. ``vector`` and ``dataset``: digests of the versions;
    ``began``: when its run did; ``leaked``: how many questions are among the vector's own pairs."""

    id: int
    vector: str
    dataset: str
    split: str
    rows: str
    plan: str
    leaked: int
    began: datetime

    def shares_questions(self, other: Asked) -> bool:
        """Whether both asked the same vector the same questions, or may have: halves of even and odd rows differ."""
        same = (self.vector, self.dataset, self.split) == (other.vector, other.dataset, other.split)
        return same and {self.rows, other.rows} != {"even", "odd"}


def standing(asked: Asked, plan: t.Plan | None, others: Sequence[Asked]) -> Standing:
    """What ``asked``, which names a plan, counts as. ``plan``: the one that is stored; ``others``: what else the vector
    was asked, and the runs of the plan.

    It is confirmatory where its plan was stored before it began, none of its questions is among the vector's own pairs,
    and nobody had asked the vector these questions before the plan: neither an evaluation that stands nor one that was
    deleted.
    """
    if plan is None:
        return Standing(False, "its plan is missing from this registry", digest=asked.plan)
    runs = sorted(other.id for other in (*others, asked) if other.plan == asked.plan)
    runs = list(dict.fromkeys(runs))
    before = sorted(
        other.id
        for other in others
        if other.id != asked.id and other.began <= plan.created_at and other.shares_questions(asked)
    )
    reason = ""
    if asked.began <= plan.created_at:
        reason = "it began before the plan was stored"
    elif asked.leaked:
        reason = f"{asked.leaked} questions are among the vector's own pairs"
    elif before:
        reason = f"the questions had been asked before the plan (evaluation {before[0]})"
    return Standing(not reason, reason, plan.name, plan.digest, runs.index(asked.id) + 1, len(runs))


def with_standing(session: Session, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The records with what they count as, in two statements however many they are; in none where no one follows a
    plan."""
    planned = {
        evaluation.id: evaluation.settings.plan
        for evaluation in evaluations
        if isinstance(evaluation.settings, RecordedPropensity) and evaluation.settings.plan
    }
    if not planned:
        return list(evaluations)
    digests = set(planned.values())
    rows = session.scalars(select(t.Plan).where(among(session, t.Plan.digest, digests)))
    plans = {row.digest: row for row in rows}
    vectors = (
        select(t.VectorVersion.digest)
        .join(t.Evaluation, t.Evaluation.vector_version_id == t.VectorVersion.id)
        .where(among(session, t.Evaluation.id, list(planned)))
    )
    asked = _asked(session, or_(t.VectorVersion.digest.in_(vectors), _PLAN.in_(digests)))
    by_id = {each.id: each for each in asked}
    return [
        replace(each, standing=standing(by_id[each.id], plans.get(planned[each.id]), asked))
        if each.id in planned
        else each
        for each in evaluations
    ]


def asked_before(workspace: Workspace, plan: Plan) -> int | None:
    """The first evaluation that had asked the plan's vector its questions before the plan was stored."""
    terms = plan.terms
    if terms.vector is None:
        return None
    with workspace.database.read() as session:
        asked = _asked(session, t.VectorVersion.digest == terms.vector.digest)
    like = Asked(0, terms.vector.digest, terms.dataset.digest, terms.split, terms.settings.rows, "", 0, plan.created_at)
    return next((each.id for each in asked if each.began <= plan.created_at and each.shares_questions(like)), None)


def runs_of(session: Session, digests: Collection[str]) -> dict[str, list[int]]:
    """By digest of each plan the numbers of the evaluations that followed it and are not deleted."""
    found: dict[str, list[int]] = {}
    query = select(_PLAN, t.Evaluation.id).where(_PLAN.in_(digests), t.Evaluation.deleted_at.is_(None))
    for digest, id in session.execute(query.order_by(t.Evaluation.id)):
        found.setdefault(digest, []).append(id)
    return found


def _asked(session: Session, which: ColumnElement[bool]) -> list[Asked]:
    """What vectors were asked, by number. ``which``: of evaluations and their vector versions."""
    made, kind = t.RunIO, "evaluation"
    query = (
        select(t.Evaluation, t.VectorVersion, t.DatasetVersion, t.Run)
        .join(t.VectorVersion, t.VectorVersion.id == t.Evaluation.vector_version_id)
        .join(t.DatasetVersion, t.DatasetVersion.id == t.Evaluation.dataset_version_id)
        .outerjoin(made, (made.object_id == t.Evaluation.id) & (made.kind == kind) & (made.direction == "output"))
        .outerjoin(t.Run, t.Run.id == made.run_id)
        .where(which)
        .order_by(t.Evaluation.id)
    )
    asked: dict[int, Asked] = {}
    for row, vector, dataset, run in session.execute(query):
        recorded = row.parameters
        leaked = recorded.get("leaked", {})
        asked[row.id] = Asked(
            id=row.id,
            vector=vector.digest,
            dataset=dataset.digest,
            split=row.split,
            rows=recorded.get("rows", "all"),
            plan=recorded.get("plan", ""),
            leaked=leaked.get("same", 0) + leaked.get("near", 0),
            began=row.created_at if run is None else run.started_at,
        )
    return list(asked.values())
