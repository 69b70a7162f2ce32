"""From the rows of a registry to documents. Everything is compared with its digests as it is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.registry.datasets.store import load_items
from caa_registry.registry.evaluations.plans.store import records as plan_records
from caa_registry.registry.evaluations.store import check_answers
from caa_registry.registry.evaluations.store import load as load_evaluations
from caa_registry.registry.provenance.lineage import Thing
from caa_registry.registry.provenance.runs import check_arrows
from caa_registry.registry.records import Evaluation, VectorVersion
from caa_registry.registry.rows import RESPONSE, SCORE, dataset_records, model_info, parts_of, vector_records
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.run import RunDocument
from caa_registry.registry.transfer.documents.things import (
    DatasetDocument,
    Described,
    Document,
    EvaluationDocument,
    ModelDocument,
    PlanDocument,
    VectorDocument,
)
from caa_registry.registry.transfer.outline import Outline, inputs_of, keys_of


def packed(session: Session, outline: Outline, wanted: Collection[Key]) -> list[Document]:
    """The documents of those things of ``outline`` that are ``wanted``, each behind what it needs.

    Raises ``IntegrityError`` for what is not what was stored.
    """
    things = [thing for thing, key in outline.keys.items() if key in wanted]
    runs = _runs(session, outline, things)
    made: dict[Thing, Document] = {}
    for part in (_datasets, _models, _vectors, _plans, _evaluations):
        made.update(part(session, outline, [id for kind, id in things if kind == _KIND[part]], runs))
    lost = [thing for thing in things if thing not in made]
    if lost:
        raise damaged(f"{lost[0][0]} {lost[0][1]}", "something was made from it, and it is missing")
    return [made[thing] for thing in things]


def _runs(session: Session, outline: Outline, things: Sequence[Thing]) -> dict[Thing, RunDocument]:
    """The runs that made ``things``."""
    by_run: dict[int, list[Thing]] = {}
    for thing in things:
        run = outline.runs[thing]
        if run is not None:
            by_run.setdefault(run, []).append(thing)
        elif thing[0] != "model":
            raise damaged(f"{thing[0]} {thing[1]}", "no run made it")
    arrows = inputs_of(session, list(by_run))
    read = {(kind, id) for of_run in arrows.values() for side, kind, id, _ in of_run if side == "input"}
    # What a run read besides is part of the outline too, since that was walked along the same arrows.
    keys = {**keys_of(session, sorted(read - outline.keys.keys()), outline.runs), **outline.keys}
    documents = {}
    for row in session.scalars(select(t.Run).where(among(session, t.Run.id, list(by_run)))):
        of_run = arrows.get(row.id, [])
        check_arrows(row, of_run)
        inputs = tuple((keys[kind, id], role) for side, kind, id, role in of_run if side == "input")
        document = RunDocument(
            row.id, row.kind, row.parameters, row.environment, row.actor, row.started_at, row.finished_at, inputs, ""
        )
        for thing in by_run[row.id]:
            role = next((role for side, *at, role in of_run if side == "output" and tuple(at) == thing), "")
            documents[thing] = replace(document, role=role)
    return documents


def _datasets(
    session: Session, outline: Outline, ids: Sequence[int], runs: Mapping[Thing, RunDocument]
) -> Iterator[tuple[Thing, Document]]:
    rows = {
        row.id: row for row in session.scalars(select(t.DatasetVersion).where(among(session, t.DatasetVersion.id, ids)))
    }
    query = select(t.DatasetVersion.id).where(among(session, t.DatasetVersion.id, ids))
    for version in dataset_records(session, query):
        thing = ("dataset", version.id)
        yield (
            thing,
            DatasetDocument(
                key=outline.keys[thing],
                number=version.number,
                holds=version.kind,
                items=load_items(session, version),
                source=rows[version.id].source,
                licence=version.licence,
                message=version.message,
                described=Described(version.description, version.tags, version.stated_behavior),
                created_at=version.created_at,
                unchecked_before=version.unchecked_before,
                run=runs[thing],
            ),
        )


def _models(
    session: Session, outline: Outline, ids: Sequence[int], _runs: Mapping[Thing, RunDocument]
) -> Iterator[tuple[Thing, Document]]:
    for row in session.scalars(select(t.Model).where(among(session, t.Model.id, ids))):
        info = replace(model_info(row), path=None, adapter_path=None)
        yield ("model", row.id), ModelDocument(outline.keys["model", row.id], info)


def _vectors(
    session: Session, outline: Outline, ids: Sequence[int], runs: Mapping[Thing, RunDocument]
) -> Iterator[tuple[Thing, Document]]:
    wanted = among(session, t.VectorVersion.id, ids)
    rows = {row.id: row for row in session.scalars(select(t.VectorVersion).where(wanted))}
    for version in vector_records(session, select(t.VectorVersion.id).where(wanted)):
        thing, row = ("vector", version.id), rows[version.id]
        yield (
            thing,
            VectorDocument(
                key=outline.keys[thing],
                number=version.number,
                tensor_digest=version.tensor_digest,
                dataset=outline.keys.get(("dataset", row.dataset_version_id or 0)),
                model=outline.keys.get(("model", row.model_id or 0)),
                recipe=row.recipe,
                origin=row.origin,
                blob=version.blob,
                d_model=version.d_model,
                layers=version.layers,
                message=version.message,
                described=Described(version.description, version.tags, _stated(version)),
                created_at=version.created_at,
                unchecked_before=version.unchecked_before,
                run=runs[thing],
            ),
        )


def _stated(version: VectorVersion) -> str:
    """The behavior that somebody gave the vector since it was stored; of one that was computed it is that of its
    pairs."""
    stored = version.origin.behavior if version.origin is not None else version.behavior
    return "" if version.behavior == stored else version.behavior


def _plans(
    session: Session, outline: Outline, ids: Sequence[int], runs: Mapping[Thing, RunDocument]
) -> Iterator[tuple[Thing, Document]]:
    rows = list(session.scalars(select(t.Plan).where(among(session, t.Plan.id, ids))))
    plan_records(session, rows)  # compares them with their digests
    for row in rows:
        thing = ("plan", row.id)
        yield (
            thing,
            PlanDocument(
                key=outline.keys[thing],
                name=row.name,
                terms=row.terms,
                actor=row.actor,
                created_at=row.created_at,
                unchecked_before=row.unchecked_before,
                run=runs[thing],
            ),
        )


def _evaluations(
    session: Session, outline: Outline, ids: Sequence[int], runs: Mapping[Thing, RunDocument]
) -> Iterator[tuple[Thing, Document]]:
    query = select(t.Evaluation.id).where(among(session, t.Evaluation.id, ids))
    rows = {row.id: row for row in session.scalars(select(t.Evaluation).where(t.Evaluation.id.in_(query)))}
    scores = parts_of(session, t.Score.evaluation_id, SCORE, query)
    responses = parts_of(session, t.Response.evaluation_id, RESPONSE, query)
    for evaluation in load_evaluations(session, query):
        row, thing = rows[evaluation.id], ("evaluation", evaluation.id)
        check_answers(session, row)
        yield (
            thing,
            EvaluationDocument(
                key=outline.keys[thing],
                number=row.id,
                measures=row.kind,
                vector=outline.keys["vector", row.vector_version_id],
                dataset=outline.keys.get(("dataset", row.dataset_version_id or 0)),
                split=row.split,
                model=outline.keys["model", row.model_id],
                metric=row.metric,
                positions=row.positions,
                template=row.template,
                parameters=row.parameters,
                measurements=row.measurements,
                scores=scores[row.id],
                responses=responses[row.id],
                not_confirmatory=_doubt(evaluation),
                created_at=row.created_at,
                unchecked_before=row.unchecked_before,
                run=runs[thing],
            ),
        )


def _doubt(evaluation: Evaluation) -> str:
    standing = evaluation.standing
    return "" if standing is None or not standing.plan or standing.confirmatory else standing.reason


_KIND: Mapping[Any, str] = {
    _datasets: "dataset",
    _models: "model",
    _vectors: "vector",
    _plans: "plan",
    _evaluations: "evaluation",
}
