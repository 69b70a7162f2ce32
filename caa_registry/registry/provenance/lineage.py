"""Lineage: the runs between pairs, models, vectors and scores, walked both ways."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.registry.lookup import aliases_of, find_version, kind_of
from caa_registry.registry.records import LineageNode, RunRecord


def lineage(session: Session, reference: str) -> LineageNode:
    """What ``reference`` was made from, to the sources, and what was made from it, to the scores."""
    kind = kind_of(session, reference)
    version = find_version(session, reference, kind)
    return _node(session, kind, version.id, up=True, down=True)


def _node(session: Session, kind: str, id: int, *, up: bool, down: bool) -> LineageNode:
    reference, digest = _name(session, kind, id)
    maker = session.scalar(
        select(t.Run)
        .join(t.RunIO, t.RunIO.run_id == t.Run.id)
        .where(t.RunIO.direction == "output", t.RunIO.kind == kind, t.RunIO.object_id == id)
        .order_by(t.Run.id)
        .limit(1)
    )
    inputs = [
        _node(session, io.kind, io.object_id, up=True, down=False)
        for io in (_io(session, maker.id, "input") if up and maker else ())
    ]
    outputs = [
        _node(session, io.kind, io.object_id, up=False, down=True)
        for run in (_users(session, kind, id) if down else ())
        for io in _io(session, run, "output")
    ]
    return LineageNode(
        kind=kind,
        reference=reference,
        digest=digest,
        run=_run(maker) if maker else None,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        aliases=aliases_of(session, kind, id) if kind in ("dataset", "vector") else (),  # type: ignore[arg-type]
    )


def _io(session: Session, run_id: int, direction: str) -> list[t.RunIO]:
    return list(session.scalars(select(t.RunIO).where(t.RunIO.run_id == run_id, t.RunIO.direction == direction)))


def _users(session: Session, kind: str, id: int) -> list[int]:
    query = select(t.RunIO.run_id).where(t.RunIO.direction == "input", t.RunIO.kind == kind, t.RunIO.object_id == id)
    return list(session.scalars(query.order_by(t.RunIO.run_id)))


def _name(session: Session, kind: str, id: int) -> tuple[str, str]:
    if kind == "dataset":
        dataset = session.get_one(t.DatasetVersion, id)
        return f"{session.get_one(t.Dataset, dataset.dataset_id).name}:v{dataset.number}", dataset.digest
    if kind == "vector":
        vector = session.get_one(t.VectorVersion, id)
        return f"{session.get_one(t.Vector, vector.vector_id).name}:v{vector.number}", vector.digest
    if kind == "model":
        model = session.get_one(t.Model, id)
        return model.name, model.fingerprint
    return f"evaluation {id}", ""


def _run(row: t.Run) -> RunRecord:
    return RunRecord(row.id, row.kind, row.actor, row.parameters, row.environment, row.started_at, row.finished_at)
