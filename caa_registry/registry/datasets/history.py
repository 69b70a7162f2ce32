"""What changed between dataset versions, how they came about, and where a pair went."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, case, func, literal, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import batches
from caa_registry.pairs.record import PairItem
from caa_registry.registry.datasets.review import decision
from caa_registry.registry.datasets.store import check_rows, stored_pair
from caa_registry.registry.lookup import find_version, references
from caa_registry.registry.provenance.recalls import find_pair, quarantine, standing
from caa_registry.registry.records import Blame, DatasetVersion, LogEntry, Recall, of_pairs
from caa_registry.registry.rows import dataset_records
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.pairs.diff import Diff


def compare(workspace: Workspace, before: DatasetVersion, after: DatasetVersion) -> Diff:
    """What changed from ``before`` to ``after``. Texts are read only of what differs."""
    from caa_registry.pairs.diff import diff

    with workspace.database.read() as session:
        for version in (before, after):
            check_rows(session, of_pairs(version))
        counts = _differing(session, of_pairs(before).id, of_pairs(after).id)
        removed = _rows(session, before.id, {key: n for key, n in counts.items() if n > 0})
        added = _rows(session, after.id, {key: -n for key, n in counts.items() if n < 0})
    return diff(removed, added, before.n_items - len(removed))


def log(workspace: Workspace, name: str) -> list[LogEntry]:
    """The versions of a dataset, newest first, in as many statements however many they are."""
    with workspace.database.read() as session:
        dataset_id = find_version(session, name, "dataset").dataset_id
        ids = select(t.DatasetVersion.id).where(
            t.DatasetVersion.dataset_id == dataset_id, t.DatasetVersion.deleted_at.is_(None)
        )
        versions = dataset_records(session, ids)
        changes = _changes(session, ids)
    entries = []
    for version in reversed(versions):
        whole = version.parent is None or version.kind != "pairs"
        added, removed = (version.n_items, 0) if whole else changes.get(version.id, (0, 0))
        entries.append(LogEntry(version, version.actor, _how(version), added, removed))
    return entries


def _how(version: DatasetVersion) -> str:
    """How a version came about, in a few words: the operation, or the source of the import."""
    operation = version.source.operation
    return operation.name if operation else version.source.uri


def blame(workspace: Workspace, prefix: str) -> Blame:
    """What holds the pair whose digest begins with ``prefix``."""
    with workspace.database.read() as session:
        digest = find_pair(session, prefix)
        row = session.get_one(t.Pair, digest)
        member = t.DatasetMember
        held = session.execute(
            select(t.Dataset, t.DatasetVersion, member.split, member.details)
            .join(t.DatasetVersion, t.DatasetVersion.dataset_id == t.Dataset.id)
            .join(member, member.version_id == t.DatasetVersion.id)
            .where(member.pair_digest == digest, t.DatasetVersion.deleted_at.is_(None))
            .order_by(t.Dataset.name, t.DatasetVersion.number, member.position)
        )
        reached = quarantine(session, [Recall(digest, "", "", datetime.min, pair=digest)])
        reviews = session.execute(
            select(t.Dataset, t.Review)
            .join(t.Dataset, t.Dataset.id == t.Review.dataset_id)
            .where(t.Review.pair_digest == digest)
            .order_by(t.Review.id)
        )
        return Blame(
            digest,
            stored_pair(digest, row.turns, row.prompt, row.positive, row.negative, row.system),
            [(f"{of.name}:v{version.number}", split, details.get("row")) for of, version, split, details in held],
            references(session, "vector", t.VectorVersion.id.in_(reached.vectors)),
            sorted(reached.evaluations),
            [(dataset.name, decision(review)) for dataset, review in reviews],
            [recall for recall in standing(session) if recall.pair == digest],
        )


def _differing(session: Session, before: int, after: int) -> dict[tuple[str, str], int]:
    """By pair and split how many rows more version ``before`` has than ``after``, where that is not 0."""
    member = t.DatasetMember
    more = func.sum(case((member.version_id == before, 1), else_=-1))
    query = (
        select(member.pair_digest, member.split, more)
        .where(member.version_id.in_([before, after]))
        .group_by(member.pair_digest, member.split)
        .having(more != 0)
    )
    return {(digest, split): int(n) for digest, split, n in session.execute(query)} if before != after else {}


def _changes(session: Session, ids: Select[int]) -> dict[int, tuple[int, int]]:
    """By version how many rows it added and removed since its parent, as pairs in their splits; of those where there
    are any."""
    version, member = t.DatasetVersion, t.DatasetMember
    children = version.id.in_(ids) & version.parent_id.is_not(None)

    def counted(of: InstrumentedAttribute[Any], sign: int) -> Select[Any, Any, Any, Any]:
        rows = select(version.id.label("id"), member.pair_digest, member.split, literal(sign).label("sign"))
        return rows.join(member, member.version_id == of).where(children)

    both = union_all(counted(version.id, 1), counted(version.parent_id, -1)).subquery()
    more = func.sum(both.c.sign)
    differing = (
        select(both.c.id, more.label("more"))
        .group_by(both.c.id, both.c.pair_digest, both.c.split)
        .having(more != 0)
        .subquery()
    )
    query = select(
        differing.c.id,
        func.sum(case((differing.c.more > 0, differing.c.more), else_=0)),
        func.sum(case((differing.c.more < 0, -differing.c.more), else_=0)),
    ).group_by(differing.c.id)
    return {id: (int(added), int(removed)) for id, added, removed in session.execute(query)}


def _rows(session: Session, version_id: int, counts: dict[tuple[str, str], int]) -> list[PairItem]:
    """As many rows of each pair and split as ``counts`` says, in the order of the version."""
    member, pair = t.DatasetMember, t.Pair
    digests = sorted({digest for digest, _ in counts})
    held: list[tuple[int, str, PairItem]] = []
    for part in batches(digests):
        query = (
            select(
                member.position, member.pair_digest, pair.turns, pair.prompt, pair.positive, pair.negative, pair.system,
                member.split, member.details,
            )
            .outerjoin(pair, pair.digest == member.pair_digest)
            .where(member.pair_digest.in_(part), member.version_id == version_id)
        )  # fmt: skip
        held += [(row[0], row[1], PairItem(stored_pair(*row[1:7]), row[7], row[8])) for row in session.execute(query)]
    left: dict[tuple[str, str], int] = defaultdict(int, counts)
    rows = []
    for _, digest, item in sorted(held, key=lambda row: row[0]):
        if left[digest, item.split] > 0:
            left[digest, item.split] -= 1
            rows.append(item)
    return rows
