"""Removing the contents of what was deleted, and bytes that a writer which failed left behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.orm import Session

from caa_registry.blobs.removal import marked
from caa_registry.blobs.store import BlobStat
from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among, batches
from caa_registry.catalog.events import append_event
from caa_registry.catalog.search import entries
from caa_registry.errors import UsageError
from caa_registry.progress import Progress, silent
from caa_registry.registry.datasets.store import any_items
from caa_registry.registry.provenance.lineage import names_of
from caa_registry.registry.records import Collected
from caa_registry.registry.workspace import Workspace

# What refers to blobs, and by which column.
REFERRING: tuple[tuple[Any, Any], ...] = (
    (t.VectorVersion, t.VectorVersion.blob_digest),
    (t.Evaluation, t.Evaluation.measurements),
)


def gc(workspace: Workspace, grace: timedelta, *, dry_run: bool = False, progress: Progress = silent) -> Collected:
    """Remove the contents of what was deleted longer than ``grace`` ago: rows of datasets, pairs that nothing else
    holds, and blobs that nothing else refers to; and blobs as old that never belonged to anything.

    The rows of versions and evaluations stay as tombstones. Others may read and write meanwhile: blobs go part by part,
    each after a transaction that looks up whether they are needed. ``dry_run``: nothing is removed.
    """
    if grace < timedelta(0):
        raise UsageError("a grace period cannot be negative", "Give 0 or more days.")
    before = datetime.now(UTC) - grace
    blobs = workspace.blobs
    with workspace.database.read() as session:
        datasets = _deleted_datasets(session, before)
        stats = {stat.digest: stat for stat in blobs.stats()}
        unused = [digest for digest in _unreferenced(session, stats, before) if _is_old(stats[digest], before)]
        found = _collected(session, datasets, unused, stats)
    if dry_run or not (datasets or unused):
        return found
    with workspace.database.write() as session:
        # What was brought back since is needed.
        _empty(session, _deleted_datasets(session, before))
        append_event(session, workspace.actor, "gc", {"deleted_before": before.isoformat(timespec="seconds")})
    removed = freed = 0
    for part in batches(unused):
        gone, size = _removed(workspace, part, before)
        removed, freed = removed + gone, freed + size
        progress(removed, len(unused))
    return replace(found, blobs=removed, bytes=freed)


def _removed(workspace: Workspace, digests: Sequence[str], before: datetime) -> tuple[int, int]:
    """Remove those that are still not needed; how many, and their bytes."""
    database, blobs = workspace.database, workspace.blobs
    if blobs.in_catalogue:
        with database.write() as session:
            # What a writer who waited for this lock stored or brought back since is needed.
            old = _old(workspace, _unreferenced(session, digests, before), before)
            return len(old), blobs.delete(old, session)
    with marked(database, lambda session: _unreferenced(session, digests, before)) as mark:
        old = _old(workspace, mark.digests, before)
        mark.check()
        return len(old), blobs.delete(old) if old else 0


def _old(workspace: Workspace, digests: Sequence[str], before: datetime) -> list[str]:
    return [stat.digest for stat in workspace.blobs.stats(digests) if _is_old(stat, before)]


def _deleted_datasets(session: Session, before: datetime) -> list[int]:
    """The dataset versions that were deleted before then and still hold something."""
    version = t.DatasetVersion
    return list(session.scalars(select(version.id).where(version.deleted_at < before, any_items())))


def _unreferenced(session: Session, digests: Iterable[str], before: datetime) -> list[str]:
    """Those of ``digests`` that nothing refers to which is there or was deleted later."""
    needed: set[str | None] = set()
    for table, column in REFERRING:
        needed |= set(
            session.scalars(select(column).where(or_(table.deleted_at.is_(None), table.deleted_at >= before)))
        )
    return [digest for digest in digests if digest not in needed]


def _is_old(stat: BlobStat, before: datetime) -> bool:
    """Whether nobody has stored the blob since: a writer may be about to refer to it."""
    return stat.stored_at is None or stat.stored_at < before


def _collected(
    session: Session, datasets: Sequence[int], unused: Sequence[str], stats: Mapping[str, BlobStat]
) -> Collected:
    """What is to be removed."""
    vectors, evaluations = (
        select(table.id).where(table.deleted_at.is_not(None), among(session, column, unused))
        for table, column in REFERRING
    )
    names = names_of(
        session, [*(("dataset", id) for id in datasets), *(("vector", id) for id in session.scalars(vectors))]
    )
    return Collected(
        versions=tuple(sorted(name.key for name in names.values())),
        evaluations=tuple(sorted(session.scalars(evaluations))),
        pairs=len(_lonely(session, datasets)),
        blobs=len(unused),
        bytes=sum(stats[digest].size for digest in unused),
    )


def _lonely(session: Session, datasets: Sequence[int]) -> list[str]:
    """The pairs that only these versions hold, and that no review or recall names."""
    member, pair = t.DatasetMember, t.Pair.digest
    held = exists().where(member.pair_digest == pair)
    named = or_(exists().where(t.Review.pair_digest == pair), exists().where(t.Recall.pair_digest == pair))
    of_these = among(session, member.version_id, datasets)
    return list(session.scalars(select(pair).where(held.where(of_these), ~held.where(~of_these), ~named)))


def _empty(session: Session, datasets: Sequence[int]) -> None:
    pairs = _lonely(session, datasets)
    entry = t.SearchEntry
    entries.remove(session, among(session, entry.pair_digest, pairs))
    entries.remove(session, among(session, entry.dataset_version_id, datasets) & (entry.position >= 0))
    for item in (t.DatasetMember, t.DatasetQuestion):
        session.execute(delete(item).where(among(session, item.version_id, datasets)))
    session.execute(delete(t.Pair).where(among(session, t.Pair.digest, pairs)))
