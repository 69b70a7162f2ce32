"""Evaluations in and out of the catalogue. One is written with its figures, run and audit event, or not at all; many
are read in a fixed number of statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Select, func, insert, select
from sqlalchemy.orm import Session

from caa_registry.blobs.store import check_kept, from_store
from caa_registry.catalog import models as t
from caa_registry.catalog.filters import behavior, tagged
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.catalog.integrity.row_digests import digest_of_rows
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.registry.evaluations.plans.standing import with_standing
from caa_registry.registry.evaluations.target import Target
from caa_registry.registry.lookup import find_version
from caa_registry.registry.models import ensure_model
from caa_registry.registry.provenance.recalls import mark_evaluations
from caa_registry.registry.provenance.runs import Activity, failure_kept, record_run
from caa_registry.registry.records import (
    DatasetVersion,
    Evaluation,
    EvaluationSettings,
    Listing,
    Plan,
    Score,
    check_limit,
)
from caa_registry.registry.records.evaluation_settings import RecordedSideEffects, settings_from_json
from caa_registry.registry.rows import RESPONSE, SCORE, digest_of_parts, model_info, parts_of
from caa_registry.registry.vectors.steering import record_mismatch
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.evaluation.measurements import Measurements
    from caa_registry.evaluation.statistics import Figure


@dataclass(frozen=True, eq=False)
class Underway:
    """An evaluation that has begun. ``dataset``: ``None`` for what is measured on other text."""

    target: Target
    kind: str
    positions: str
    template: str
    settings: EvaluationSettings
    dataset: DatasetVersion | None
    split: str
    activity: Activity
    plan: Plan | None


@dataclass(frozen=True, eq=False)
class Measured:
    """What an evaluation comes to, before it is stored or beside one that is: how it was made, its figures, and its
    items or its answers."""

    settings: EvaluationSettings
    figures: Sequence[Figure]
    measurements: Measurements | None = None
    responses: Sequence[t.Response] = ()


def begin(
    workspace: Workspace,
    target: Target,
    kind: str,
    settings: EvaluationSettings,
    *,
    positions: str,
    template: str,
    dataset: DatasetVersion | None = None,
    split: str = "",
    plan: Plan | None = None,
) -> Underway:
    """Begin an evaluation: its run counts from now on. ``plan``: the one that it follows."""
    parameters = {"kind": kind, "split": split, "positions": positions, **settings.to_json()}
    activity = Activity("evaluate", workspace.actor, parameters)
    return Underway(target, kind, positions, template, settings, dataset, split, activity, plan)


@contextmanager
def underway_kept(workspace: Workspace, underway: Underway) -> Iterator[None]:
    """Keep a run that failed where measuring or storing does (``runs.failure_kept``)."""
    from caa_registry.evaluation.shards import MissingShardsError

    inputs, subject = _read(underway)
    with failure_kept(workspace, underway.activity, inputs=inputs, subject=subject, expected=(MissingShardsError,)):
        yield


def _read(underway: Underway) -> tuple[list[tuple[str, int]], dict[str, str]]:
    """What an evaluation reads beside its model, and how its event tells of that."""
    version, dataset, plan = underway.target.version, underway.dataset, underway.plan
    inputs, named = [("vector", version.id)], {"vector": version.reference}
    if dataset is not None:
        inputs.append(("dataset", dataset.id))
        named["dataset"] = dataset.reference
    if plan is not None:
        inputs.append(("plan", plan.id))
        named |= {"plan": plan.name, "plan_digest": plan.digest}
    return inputs, named


def store(
    workspace: Workspace,
    underway: Underway,
    metric: str,
    figures: Iterable[Figure],
    *,
    measurements: str | None = None,
    responses: Sequence[t.Response] = (),
    **subject: str,
) -> int:
    """Write what was measured; the number of the evaluation. ``metric``: its own. ``subject``: more for the audit."""
    target, dataset = underway.target, underway.dataset
    scores = [
        (
            place,
            figure.condition,
            figure.layer,
            figure.multiplier,
            figure.metric,
            figure.interval.value,
            figure.interval.low,
            figure.interval.high,
            figure.interval.n,
        )
        for place, figure in enumerate(figures)
    ]
    with workspace.database.write() as session:
        if measurements is not None:
            check_kept(workspace.blobs, measurements)
        model, _ = ensure_model(session, target.model.info)
        record_mismatch(session, workspace.actor, target.version, target.model, target.verdict)
        evaluation = t.Evaluation(
            kind=underway.kind,
            vector_version_id=target.version.id,
            dataset_version_id=dataset.id if dataset else None,
            split=underway.split,
            model_id=model.id,
            metric=metric,
            positions=underway.positions,
            template=underway.template,
            parameters=underway.settings.to_json(),
            measurements=measurements,
            created_at=datetime.now(UTC),
        )
        add(session, evaluation, scores, responses)
        inputs, named = _read(underway)
        record_run(
            session,
            underway.activity,
            inputs=[*inputs, ("model", model.id)],
            outputs=[("evaluation", evaluation.id)],
            subject={"evaluation": evaluation.id, **named, **subject},
        )
        return evaluation.id


def add(
    session: Session,
    evaluation: t.Evaluation,
    scores: Sequence[Sequence[object]],
    responses: Sequence[t.Response],
) -> None:
    """Add ``evaluation`` with its figures, of the columns ``rows.SCORE``, and its answers."""
    evaluation.scores_digest = digest_of_rows("score", scores)
    evaluation.responses_digest = digest_of_parts("response", RESPONSE, responses) if responses else None
    session.add(evaluation)
    session.flush()
    if scores:
        rows = [{"evaluation_id": evaluation.id, **dict(zip(SCORE, score, strict=True))} for score in scores]
        session.execute(insert(t.Score), rows)
    for response in responses:
        response.evaluation_id = evaluation.id
    session.add_all(responses)
    session.flush()


def get(workspace: Workspace, id: int) -> Evaluation:
    """The evaluation of that number with all its scores. Raises ``NotFoundError``."""
    # Beyond what either database holds as a number there is nothing either.
    if 0 < id < 2**31:
        there = select(t.Evaluation.id).where(t.Evaluation.id == id, t.Evaluation.deleted_at.is_(None))
        with workspace.database.read() as session:
            for evaluation in load(session, there):
                return evaluation
    raise NotFoundError(f"there is no evaluation {id}", "List them with: caa eval ls")


def newest(workspace: Workspace, vector: str) -> Evaluation | None:
    """The newest evaluation of a vector version, of whatever kind."""
    with workspace.database.read() as session:
        id = session.scalar(_of_vector(session, vector).with_only_columns(func.max(t.Evaluation.id)))
    return None if id is None else get(workspace, id)


def ls(
    workspace: Workspace,
    vector: str | None,
    conditions: Sequence[str],
    tags: Mapping[str, str] | None,
    limit: int | None,
) -> Listing[Evaluation]:
    """See ``Evaluations.ls``."""
    check_limit(limit)
    with workspace.database.read() as session:
        ids = _of_vector(session, vector)
        if tags:
            vectors = select(t.VectorVersion.id).where(tagged(tags, t.VectorVersion))
            ids = ids.where(t.Evaluation.vector_version_id.in_(vectors))
        page = ids if limit is None else ids.order_by(t.Evaluation.id.desc()).limit(limit)
        records = load(session, page, lambda score: score.condition in conditions)
        total = len(records)
        if limit is not None:
            total = session.scalar(select(func.count()).select_from(ids.subquery())) or 0
    return Listing(tuple(records), total)


def _of_vector(session: Session, vector: str | None) -> Select[int]:
    ids = select(t.Evaluation.id).where(t.Evaluation.deleted_at.is_(None))
    if vector is None:
        return ids
    return ids.where(t.Evaluation.vector_version_id == find_version(session, vector, "vector").id)


def measurements(workspace: Workspace, evaluation: Evaluation, *, cached: bool = True) -> Measurements:
    """The items of an evaluation, not ``cached``: as they lie in the store. Raises ``UsageError`` where they were not
    kept, ``IntegrityError`` where the bytes are not those that were stored."""
    from caa_registry.evaluation.measurements import from_bytes

    if evaluation.measurements is None:
        raise UsageError(f"evaluation {evaluation.id} was stored without its items", "Evaluate again.")
    read = workspace.blobs.get if cached else partial(from_store, workspace.blobs)
    return from_bytes(read(evaluation.measurements))


def check_answers(session: Session, row: t.Evaluation) -> None:
    """Raise ``IntegrityError`` unless the answers of an evaluation are those that were stored."""
    this = select(t.Evaluation.id).where(t.Evaluation.id == row.id)
    answers = parts_of(session, t.Response.evaluation_id, RESPONSE, this)[row.id]
    if (digest_of_rows("response", answers) if answers else None) != row.responses_digest:
        raise damaged(f"evaluation {row.id}", "its answers are not those that were stored")


def load(session: Session, ids: Select[int], keep: Callable[[Score], bool] | None = None) -> list[Evaluation]:
    """The evaluations whose ids ``ids`` selects, oldest first, with those of their scores that ``keep`` wants.

    All their scores are read, whichever are wanted: their digest covers them together. Raises ``IntegrityError``.
    """
    evaluations, vectors, datasets = t.Evaluation, t.VectorVersion, t.DatasetVersion
    query = (
        select(evaluations, t.Vector, vectors, t.Dataset, datasets, behavior())
        .outerjoin(vectors, vectors.id == evaluations.vector_version_id)
        .outerjoin(t.Vector, t.Vector.id == vectors.vector_id)
        .outerjoin(datasets, datasets.id == evaluations.dataset_version_id)
        .outerjoin(t.Dataset, t.Dataset.id == datasets.dataset_id)
        .where(evaluations.id.in_(ids))
        .order_by(evaluations.id)
    )
    rows = session.execute(query).all()
    of_models = select(evaluations.model_id).where(evaluations.id.in_(ids))
    models = {row.id: model_info(row) for row in session.scalars(select(t.Model).where(t.Model.id.in_(of_models)))}
    by_evaluation = parts_of(session, t.Score.evaluation_id, SCORE, ids)
    records = []
    for row, owner, vector, dataset, asked, contrasted in rows:
        sources = [owner, models.get(row.model_id), dataset if row.dataset_version_id is not None else row]
        if None in sources:
            raise damaged(f"evaluation {row.id}", "what it was measured on is missing")
        cells = by_evaluation[row.id]
        if row.scores_digest != digest_of_rows("score", cells):
            raise damaged(f"evaluation {row.id}", "its scores are not those that were stored")
        scores = [Score(**dict(zip(SCORE[1:], cell[1:], strict=True))) for cell in cells]
        settings = settings_from_json(row.kind, row.parameters, row.id)
        if isinstance(settings, RecordedSideEffects):
            reference = f"text {settings.text}"
        elif dataset is None:
            raise damaged(f"evaluation {row.id}", "the questions that it was measured on are missing")
        else:
            reference = f"{dataset.name}:v{asked.number}"
        records.append(
            Evaluation(
                id=row.id,
                vector=f"{owner.name}:v{vector.number}",
                dataset=reference,
                behavior=contrasted or "",
                split=row.split,
                model=models[row.model_id],
                metric=row.metric,
                positions=row.positions,
                template=row.template,
                settings=settings,
                scores=tuple(scores if keep is None else filter(keep, scores)),
                created_at=row.created_at,
                measurements=row.measurements,
                kind=row.kind,
                unchecked_before=row.unchecked_before,
            )
        )
    return mark_evaluations(session, with_standing(session, records))
