"""What a dataset version holds, what it shares with other datasets, and where it is used."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from caa_registry.catalog import models as t
from caa_registry.pairs.statistics import SplitStatistics, split_statistics
from caa_registry.registry.datasets.store import load_items
from caa_registry.registry.lookup import references
from caa_registry.registry.records import DatasetStatistics, DatasetVersion, Neighbour

_NEAREST = 5


def statistics(session: Session, version: DatasetVersion) -> DatasetStatistics:
    """The figures of a version: those of its items were stored with it, the rest is looked up."""
    return DatasetStatistics(
        splits=split_figures(session, version),
        nearest=_nearest(session, version) if version.kind == "pairs" else (),
        vectors=tuple(references(session, "vector", t.VectorVersion.dataset_version_id == version.id)),
        evaluations=tuple(
            session.scalars(
                select(t.Evaluation.id)
                .where(t.Evaluation.dataset_version_id == version.id, t.Evaluation.deleted_at.is_(None))
                .order_by(t.Evaluation.id)
            )
        ),
        versions=_made_of(session, version),
    )


def split_figures(session: Session, version: DatasetVersion) -> tuple[SplitStatistics, ...]:
    """What each split of a version holds, as it was stored with it; counted now in a version older than that."""
    stored = session.get_one(t.DatasetVersion, version.id).statistics
    if stored is not None:
        return tuple(SplitStatistics.from_json(split) for split in stored["splits"])
    return tuple(split_statistics(load_items(session, version)))


def _nearest(session: Session, version: DatasetVersion) -> tuple[Neighbour, ...]:
    newest = (
        select(func.max(t.DatasetVersion.id))
        .join(t.Dataset, t.Dataset.id == t.DatasetVersion.dataset_id)
        .where(t.DatasetVersion.deleted_at.is_(None), t.Dataset.name != version.name)
        .group_by(t.DatasetVersion.dataset_id)
    )
    own, theirs = aliased(t.DatasetMember), aliased(t.DatasetMember)
    shared = func.count(func.distinct(theirs.pair_digest))
    counted = (
        select(theirs.version_id, shared.label("shared"))
        .join(own, own.pair_digest == theirs.pair_digest)
        .where(own.version_id == version.id, theirs.version_id.in_(newest))
        .group_by(theirs.version_id)
        .subquery()
    )
    rows = session.execute(
        select(t.Dataset.name, t.DatasetVersion.number, counted.c.shared)
        .join(t.DatasetVersion, t.DatasetVersion.dataset_id == t.Dataset.id)
        .join(counted, counted.c.version_id == t.DatasetVersion.id)
        .order_by(counted.c.shared.desc(), t.Dataset.name)
        .limit(_NEAREST)
    )
    return tuple(Neighbour(f"{name}:v{number}", count) for name, number, count in rows)


def _made_of(session: Session, version: DatasetVersion) -> tuple[str, ...]:
    """The dataset versions that a run made of this one."""
    read, written = aliased(t.RunIO), aliased(t.RunIO)
    runs = (
        select(written.object_id)
        .join(read, read.run_id == written.run_id)
        .where(
            (read.direction == "input") & (read.kind == "dataset") & (read.object_id == version.id),
            (written.direction == "output") & (written.kind == "dataset"),
        )
    )
    return tuple(references(session, "dataset", t.DatasetVersion.id.in_(runs)))
