"""What changed between dataset versions, how they came about, and where a pair went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import batches
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.registry.datasets.curation import described
from caa_registry.registry.datasets.review import Decision, decision
from caa_registry.registry.lookup import dataset_record, find_version, of_pairs, references
from caa_registry.registry.provenance.recalls import Recall, find_pair, quarantine, standing
from caa_registry.registry.records import DatasetVersion

if TYPE_CHECKING:
    from caa_registry.pairs.diff import Diff


@dataclass(frozen=True)
class LogEntry:
    """A version with who made it, how, and how many rows came and went since the version before it."""

    version: DatasetVersion
    actor: str
    what: str
    added: int
    removed: int


@dataclass(frozen=True)
class Blame:
    """A pair and all that holds it: ``versions`` as (reference, split, row of the source), ``vectors`` as references,
    ``evaluations`` by number, ``reviews`` as (dataset, decision), and the ``recalls`` that stand against it."""

    digest: str
    pair: Pair
    versions: Sequence[tuple[str, str, int | None]]
    vectors: Sequence[str]
    evaluations: Sequence[int]
    reviews: Sequence[tuple[str, Decision]]
    recalls: Sequence[Recall]


def compare(session: Session, one: DatasetVersion, other: DatasetVersion) -> Diff:
    """What changed from ``one`` to ``other``. Texts are read only of what differs."""
    from caa_registry.pairs.diff import diff

    counts = _differing(session, of_pairs(one).id, of_pairs(other).id)
    removed = _rows(session, one.id, {key: n for key, n in counts.items() if n > 0})
    added = _rows(session, other.id, {key: -n for key, n in counts.items() if n < 0})
    return diff(removed, added, one.n_items - len(removed))


def log(session: Session, name: str) -> list[LogEntry]:
    """The versions of a dataset, newest first."""
    newest = find_version(session, name, "dataset")
    rows = session.scalars(
        select(t.DatasetVersion)
        .where(t.DatasetVersion.dataset_id == newest.dataset_id, t.DatasetVersion.deleted_at.is_(None))
        .order_by(t.DatasetVersion.number.desc())
    )
    entries = []
    for row in rows:
        version = dataset_record(session, row)
        added, removed = row.n_items, 0
        if row.parent_id is not None and version.kind == "pairs":
            counts = _differing(session, row.parent_id, row.id).values()
            added, removed = -sum(n for n in counts if n < 0), sum(n for n in counts if n > 0)
        entries.append(LogEntry(version, _maker(session, row.id), described(version), added, removed))
    return entries


def blame(session: Session, prefix: str) -> Blame:
    """Where the pair went whose digest begins with ``prefix``."""
    digest = find_pair(session, prefix)
    row = session.get_one(t.Pair, digest)
    member = t.DatasetMember
    held = session.execute(
        select(t.Dataset.name, t.DatasetVersion.number, member.split, member.details)
        .join(t.DatasetVersion, t.DatasetVersion.dataset_id == t.Dataset.id)
        .join(member, member.version_id == t.DatasetVersion.id)
        .where(member.pair_digest == digest, t.DatasetVersion.deleted_at.is_(None))
        .order_by(t.Dataset.name, t.DatasetVersion.number, member.position)
    )
    reached = quarantine(session, [Recall(digest, "", "", datetime.min, pair=digest)])
    said = session.execute(
        select(t.Dataset.name, t.Review)
        .join(t.Dataset, t.Dataset.id == t.Review.dataset_id)
        .where(t.Review.pair_digest == digest)
        .order_by(t.Review.id)
    )
    return Blame(
        digest,
        Pair(row.prompt, row.positive, row.negative, row.system),
        [(f"{name}:v{number}", split, details.get("row")) for name, number, split, details in held],
        references(session, "vector", t.VectorVersion.id.in_(reached.vectors)),
        sorted(reached.evaluations),
        [(name, decision(review)) for name, review in said],
        [one for one in standing(session) if one.pair == digest],
    )


def _differing(session: Session, one: int, other: int) -> dict[tuple[str, str], int]:
    """By pair and split how many rows more version ``one`` has than ``other``, where that is not 0."""
    member = t.DatasetMember
    more = func.sum(case((member.version_id == one, 1), else_=-1))
    query = (
        select(member.pair_digest, member.split, more)
        .where(member.version_id.in_([one, other]))
        .group_by(member.pair_digest, member.split)
        .having(more != 0)
    )
    return {(digest, split): int(n) for digest, split, n in session.execute(query)} if one != other else {}


def _rows(session: Session, version_id: int, wanted: dict[tuple[str, str], int]) -> list[PairItem]:
    """So many rows of each pair and split as ``wanted`` says, in the order of the version."""
    member, pair = t.DatasetMember, t.Pair
    digests = sorted({digest for digest, _ in wanted})
    found: list[tuple[int, str, PairItem]] = []
    for part in batches(digests):
        query = (
            select(
                member.position, pair.digest, pair.prompt, pair.positive, pair.negative, pair.system, member.split,
                member.details,
            )
            .join(pair, pair.digest == member.pair_digest)
            .where(member.pair_digest.in_(part), member.version_id == version_id)
        )  # fmt: skip
        found += [(row[0], row[1], PairItem(Pair(*row[2:6]), row[6], row[7])) for row in session.execute(query)]
    left: dict[tuple[str, str], int] = defaultdict(int, wanted)
    rows = []
    for _, digest, item in sorted(found, key=lambda row: row[0]):
        if left[digest, item.split] > 0:
            left[digest, item.split] -= 1
            rows.append(item)
    return rows


def _maker(session: Session, version_id: int) -> str:
    actor = session.scalar(
        select(t.Run.actor)
        .join(t.RunIO, t.RunIO.run_id == t.Run.id)
        .where(t.RunIO.direction == "output", t.RunIO.kind == "dataset", t.RunIO.object_id == version_id)
        .order_by(t.Run.id)
        .limit(1)
    )
    return actor or ""
