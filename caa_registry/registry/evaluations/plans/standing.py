"""Whether evaluations followed a plan that was there before them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session, aliased

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.registry.provenance.runs import RECEIVED, Arrow, check_arrows
from caa_registry.registry.records import Evaluation, Plan, RecordedPropensity, Standing
from caa_registry.registry.workspace import Workspace
from caa_registry.wording import subject


@dataclass(frozen=True)
class Asked:
    """An evaluation of a vector on questions, deleted or not. ``vector`` and ``dataset``: digests of the versions;
    ``began``: when its run did; ``leaked``: how many questions are among the vector's own pairs;
    ``leaks_unknown``: whether there may be more; ``doubt``: why it did not count where it was received from."""

    id: int
    vector: str
    dataset: str
    split: str
    rows: str
    plan: str
    leaked: int
    leaks_unknown: bool
    began: datetime
    doubt: str = ""

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
    if asked.doubt:
        reason = asked.doubt
    elif asked.began <= plan.created_at:
        reason = "it began before the plan was stored"
    elif asked.leaked:
        reason = f"{subject(asked.leaked, 'question')} among the vector's own pairs"
    elif asked.leaks_unknown:
        reason = "not all of the vector's own pairs are known"
    elif before:
        reason = f"the questions had been asked before the plan (evaluation {before[0]})"
    return Standing(not reason, reason, plan.name, plan.digest, runs.index(asked.id) + 1, len(runs))


def with_standing(session: Session, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The records with what they count as, in five statements however many they are; in none where no one follows a
    plan."""
    planned = {
        evaluation.id: evaluation.settings.plan
        for evaluation in evaluations
        if isinstance(evaluation.settings, RecordedPropensity) and evaluation.settings.plan
    }
    if not planned:
        return list(evaluations)
    plans = _followed(session, planned)
    vectors = select(t.Evaluation.vector_version_id).where(among(session, t.Evaluation.id, list(planned)))
    digest = select(t.VectorVersion.digest).where(t.VectorVersion.id.in_(vectors))
    asked = _asked(session, t.VectorVersion.digest.in_(digest), t.Plan.digest.in_(set(planned.values())))
    by_id = {each.id: each for each in asked}
    for number in planned:
        if number not in by_id:
            raise damaged(f"evaluation {number}", "nothing says which run made it")
    return [
        replace(each, standing=standing(by_id[each.id], plans.get(each.id), asked)) if each.id in planned else each
        for each in evaluations
    ]


def _followed(session: Session, planned: Mapping[int, str]) -> dict[int, t.Plan]:
    """By number of each evaluation the plan that its run followed. ``planned``: digests that the evaluations name."""
    ran, made = aliased(t.RunIO), aliased(t.RunIO)
    query = (
        select(made.object_id, t.Plan)
        .join(ran, (ran.run_id == made.run_id) & (ran.kind == "plan") & (ran.direction == "input"))
        .outerjoin(t.Plan, t.Plan.id == ran.object_id)
        .where(made.kind == "evaluation", made.direction == "output", among(session, made.object_id, list(planned)))
    )
    followed: dict[int, t.Plan] = {}
    for number, plan in session.execute(query):
        if plan is None or plan.digest != planned[number]:
            raise damaged(f"evaluation {number}", "the plan that it followed is missing")
        followed[number] = plan
    return followed


def asked_before(workspace: Workspace, plan: Plan) -> int | None:
    """The first evaluation that had asked the plan's vector its questions before the plan was stored."""
    terms = plan.terms
    if terms.vector is None:
        return None
    with workspace.database.read() as session:
        asked = _asked(session, t.VectorVersion.digest == terms.vector.digest)
    like = Asked(
        0, terms.vector.digest, terms.dataset.digest, terms.split, terms.settings.rows, "", 0, False, plan.created_at
    )
    return next((each.id for each in asked if each.began <= plan.created_at and each.shares_questions(like)), None)


def runs_of(session: Session, digests: Collection[str]) -> dict[str, list[int]]:
    """By digest of each plan the numbers of the evaluations that followed it and are not deleted."""
    found: dict[str, list[int]] = {}
    ran, made = aliased(t.RunIO), aliased(t.RunIO)
    query = (
        select(t.Plan.digest, made.object_id, t.Evaluation)
        .join(ran, (ran.object_id == t.Plan.id) & (ran.kind == "plan") & (ran.direction == "input"))
        .join(made, (made.run_id == ran.run_id) & (made.kind == "evaluation") & (made.direction == "output"))
        .outerjoin(t.Evaluation, t.Evaluation.id == made.object_id)
        .where(among(session, t.Plan.digest, digests))
        .order_by(made.object_id)
    )
    for digest, number, evaluation in session.execute(query):
        if evaluation is None:
            raise damaged(f"evaluation {number}", "it followed a plan, and is missing")
        if evaluation.deleted_at is None:
            found.setdefault(digest, []).append(number)
    return found


def _asked(session: Session, vectors: ColumnElement[bool], plans: ColumnElement[bool] | None = None) -> list[Asked]:
    """What ``vectors`` were asked and what followed ``plans``, by number. Looked up by its runs, so that an evaluation
    that is lost is not taken for one that never was."""
    used, made = aliased(t.RunIO), aliased(t.RunIO)
    things = [(used.kind == "vector") & used.object_id.in_(select(t.VectorVersion.id).where(vectors))]
    if plans is not None:
        things.append((used.kind == "plan") & used.object_id.in_(select(t.Plan.id).where(plans)))
    query = (
        select(made.object_id, t.Evaluation, t.VectorVersion, t.DatasetVersion, t.Run)
        .where(
            made.kind == "evaluation",
            made.direction == "output",
            made.run_id.in_(select(used.run_id).where(used.direction == "input", or_(*things))),
        )
        .outerjoin(t.Evaluation, t.Evaluation.id == made.object_id)
        .outerjoin(t.VectorVersion, t.VectorVersion.id == t.Evaluation.vector_version_id)
        .outerjoin(t.DatasetVersion, t.DatasetVersion.id == t.Evaluation.dataset_version_id)
        .outerjoin(t.Run, t.Run.id == made.run_id)
        .order_by(made.object_id)
    )
    rows = session.execute(query).all()
    _check_runs(session, vectors, {row[0]: row[4] for row in rows})
    asked: dict[int, Asked] = {}
    for number, row, vector, dataset, run in rows:
        if row is None or vector is None or run is None:
            raise damaged(f"evaluation {number}", "it was recorded, and a part of it is missing")
        if row.dataset_version_id is None:
            continue
        if dataset is None:
            raise damaged(f"evaluation {number}", "its questions are missing")
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
            leaks_unknown=leaked.get("unknown", False),
            began=run.started_at,
            doubt=_doubt(run),
        )
    return list(asked.values())


def _doubt(run: t.Run) -> str:
    """Why an evaluation did not count as following its plan in a registry that it came through: what had been asked
    before is known there alone."""
    hops = run.environment.get(RECEIVED)
    doubts = [hop.get("not_confirmatory") for hop in hops if isinstance(hop, dict)] if isinstance(hops, list) else []
    return next((doubt for doubt in doubts if isinstance(doubt, str) and doubt), "")


def _check_runs(session: Session, vectors: ColumnElement[bool], runs: Mapping[int, t.Run | None]) -> None:
    """Raise ``IntegrityError`` where a run by number of an evaluation does not read and make what it did, or one of
    ``vectors`` has an evaluation that no run leads to."""
    io, ids = t.RunIO, {run.id for run in runs.values() if run is not None}
    arrows: dict[int, list[Arrow]] = {}
    query = select(io.run_id, io.direction, io.kind, io.object_id, io.role).where(among(session, io.run_id, list(ids)))
    for run_id, direction, kind, thing, role in session.execute(query):
        arrows.setdefault(run_id, []).append((direction, kind, thing, role))
    for run in runs.values():
        if run is not None:
            check_arrows(run, arrows.get(run.id, []))
    of_vectors = select(t.VectorVersion.id).where(vectors)
    for number in session.scalars(select(t.Evaluation.id).where(t.Evaluation.vector_version_id.in_(of_vectors))):
        if number not in runs:
            raise damaged(f"evaluation {number}", "nothing says which run made it")
