"""Recalls: pairs and dataset versions that turned out bad, and every vector and score that descends from them.

What is quarantined is not stored a second time: it follows from the recalls that stand and from the lineage.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.events import append_event
from caa_registry.display.records import Record
from caa_registry.errors import UsageError
from caa_registry.registry.lookup import find_version, references
from caa_registry.registry.provenance.reach import Reached, Recalled
from caa_registry.registry.records import Recall
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.registry.records import DatasetVersion, Evaluation, VectorVersion

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quarantine:
    """What descends from recalls: ids of vector versions, evaluations and dataset versions, each with the recalls
    behind it."""

    vectors: Mapping[int, Sequence[Recall]] = field(default_factory=dict)
    evaluations: Mapping[int, Sequence[Recall]] = field(default_factory=dict)
    datasets: Mapping[int, Sequence[Recall]] = field(default_factory=dict)


@dataclass(frozen=True)
class Downstream(Record):
    """What one recall reaches: references of dataset versions and vectors, and numbers of evaluations."""

    what: str
    datasets: Sequence[str]
    vectors: Sequence[str]
    evaluations: Sequence[int]


def recall(workspace: Workspace, what: str, why: str, *, lift: bool, dry_run: bool) -> Downstream:
    """Recall a pair (how its digest begins) or a dataset version (a reference), or take its recall back.

    Raises ``UsageError`` without a reason, for what is recalled already, and for what is not where it is lifted.
    """
    from caa_registry.pairs.record import checked_text

    if not why.strip() and not (dry_run or lift):
        raise UsageError("a recall needs a reason", "Give --why.")
    checked_text(why, field="why")
    with workspace.database.write() as session:
        target = _target(session, what)
        known = {recall.what: recall for recall in standing(session)}.get(target.what)
        if not dry_run and lift and known is None:
            raise UsageError(f"{target.what} is not recalled", "There is nothing to take back.")
        if not dry_run and not lift and known is not None:
            raise UsageError(f"{target.what} is recalled already: {known.why}", "Take that back first (--lift).")
        reached = quarantine(session, [target])
        downstream = Downstream(
            target.what,
            references(session, "dataset", among(session, t.DatasetVersion.id, reached.datasets)),
            references(session, "vector", among(session, t.VectorVersion.id, reached.vectors)),
            sorted(reached.evaluations),
        )
        if not dry_run:
            row = t.Recall(
                pair_digest=target.pair,
                version_id=target.version_id,
                lifted=lift,
                why=why,
                actor=workspace.actor,
                created_at=datetime.now(UTC),
            )
            session.add(row)
            session.flush()
            subject = {"recall": row.id, "what": target.what, "why": why}
            reach = {"vectors": list(downstream.vectors), "evaluations": list(downstream.evaluations)}
            append_event(session, workspace.actor, "lift-recall" if lift else "recall", {**subject, **reach})
    return downstream


def find_pair(session: Session, prefix: str) -> str:
    """The digest of the one pair whose digest begins with ``prefix``. Raises ``UsageError``."""
    begin = f"sha256:{prefix.removeprefix('sha256:')}"
    digests = list(
        session.scalars(select(t.Pair.digest).where(t.Pair.digest.startswith(begin, autoescape=True)).limit(2))
    )
    if not digests:
        raise UsageError(f"there is no pair {prefix}", "A pair is named by how its digest begins: caa dataset show.")
    if len(digests) > 1:
        raise UsageError(f"{prefix} fits several pairs", "Give more digits.")
    return digests[0]


def is_pair(what: str) -> bool:
    """Whether ``what`` names a pair by its digest, rather than a dataset."""
    return what.startswith("sha256:") or (len(what) >= 12 and all(c in "0123456789abcdef" for c in what))


def standing(session: Session) -> list[Recall]:
    """The recalls that were not taken back, oldest first."""
    newest = select(func.max(t.Recall.id)).group_by(t.Recall.pair_digest, t.Recall.version_id)
    query = (
        # Of the version only its name: a recall of one that is damaged must not spoil every listing.
        select(t.Recall, t.Dataset.name, t.DatasetVersion.number)
        .outerjoin(t.DatasetVersion, t.DatasetVersion.id == t.Recall.version_id)
        .outerjoin(t.Dataset, t.Dataset.id == t.DatasetVersion.dataset_id)
        .where(t.Recall.id.in_(newest))
        .order_by(t.Recall.id)
    )
    return [
        Recall(
            row.pair_digest or f"{name}:v{number}",
            row.why,
            row.actor,
            row.created_at,
            row.pair_digest,
            row.version_id,
        )
        for row, name, number in session.execute(query)
        if not row.lifted
    ]


def quarantining(session: Session) -> list[Recall]:
    """The recalls and the quarantines by hand that were not taken back, oldest first."""
    return sorted([*standing(session), *_by_hand(session)], key=lambda recall: recall.created_at)


def _by_hand(session: Session) -> list[Recall]:
    newest = select(func.max(t.Quarantine.id)).group_by(t.Quarantine.vector_version_id, t.Quarantine.evaluation_id)
    query = (
        select(t.Quarantine, t.Vector.name, t.VectorVersion.number)
        .outerjoin(t.VectorVersion, t.VectorVersion.id == t.Quarantine.vector_version_id)
        .outerjoin(t.Vector, t.Vector.id == t.VectorVersion.vector_id)
        .where(t.Quarantine.id.in_(newest))
        .order_by(t.Quarantine.id)
    )
    return [
        Recall(
            f"evaluation {row.evaluation_id}" if row.evaluation_id else f"vector {name}:v{number}",
            row.why,
            row.actor,
            row.created_at,
            vector_id=row.vector_version_id,
            evaluation_id=row.evaluation_id,
        )
        for row, name, number in session.execute(query)
        if not row.lifted
    ]


def quarantine(session: Session, recalls: Sequence[Recall] | None = None) -> Quarantine:
    """What descends from ``recalls``, by default from all that stand."""
    recalls = quarantining(session) if recalls is None else recalls
    if not recalls:
        return Quarantine()
    recalled = _recalled(recalls)
    return Quarantine(
        _behind(recalls, recalled.vectors(session)),
        _behind(recalls, recalled.evaluations(session)),
        _behind(recalls, recalled.datasets(session)),
    )


def mark_datasets(session: Session, versions: Sequence[DatasetVersion]) -> list[DatasetVersion]:
    """The records with why they are recalled, or hold what is."""
    recalls = standing(session)
    if not recalls:
        return list(versions)
    reasons = _reasons(recalls, _recalled(recalls).datasets(session))
    return [replace(v, recalled=reasons[v.id]) if v.id in reasons else v for v in versions]


def mark_vectors(session: Session, versions: Sequence[VectorVersion]) -> list[VectorVersion]:
    """The records with why they are quarantined."""
    recalls = quarantining(session)
    if not recalls:
        return list(versions)
    reasons = _reasons(recalls, _recalled(recalls).vectors(session))
    return [replace(v, quarantined=reasons[v.id]) if v.id in reasons else v for v in versions]


def mark_evaluations(session: Session, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The records with why they are quarantined."""
    recalls = quarantining(session)
    if not recalls:
        return list(evaluations)
    reasons = _reasons(recalls, _recalled(recalls).evaluations(session))
    return [replace(e, quarantined=reasons[e.id]) if e.id in reasons else e for e in evaluations]


def because(recalls: Sequence[Recall]) -> str:
    """Recalls in words: what was recalled or quarantined, and why."""
    return "; ".join(recall.reason for recall in recalls)


def warn_of_vector(workspace: Workspace, version: VectorVersion) -> None:
    """Warn, where a vector is about to be applied, that it is quarantined now."""
    with workspace.database.read() as session:
        (marked,) = mark_vectors(session, [replace(version, quarantined="")])
    if marked.quarantined:
        LOGGER.warning("%s is quarantined: %s", version.reference, marked.quarantined)


def warn_of_pairs(workspace: Workspace, version: DatasetVersion, split: str) -> None:
    """Warn, where pairs are about to be used, that they or some of them are recalled."""
    with workspace.database.read() as session:
        recalls = standing(session)
        if not recalls:
            return
        recalled = _recalled(recalls)
        reached = _behind(recalls, recalled.datasets(session)).get(version.id, ())
        member = t.DatasetMember
        query = select(member.pair_digest).where(
            among(session, member.pair_digest, recalled.pairs),
            member.version_id == version.id,
            member.split == split,
        )
        held = set(session.scalars(query))
    recalls = [recall for recall in reached if recall.pair is None or recall.pair in held]
    if recalls:
        LOGGER.warning("%s (%s): %s", version.reference, split, because(recalls))


def _recalled(recalls: Sequence[Recall]) -> Recalled:
    return Recalled(
        [recall.pair for recall in recalls if recall.pair is not None],
        [recall.version_id for recall in recalls if recall.version_id is not None],
        [recall.vector_id for recall in recalls if recall.vector_id is not None],
        [recall.evaluation_id for recall in recalls if recall.evaluation_id is not None],
    )


def _behind(recalls: Sequence[Recall], reached: Reached) -> dict[int, list[Recall]]:
    """By id the recalls that reach it, oldest first."""
    places = {recall.label: place for place, recall in enumerate(recalls)}
    return {id: [recalls[place] for place in sorted(places[label] for label in reached[id])] for id in reached}


def _reasons(recalls: Sequence[Recall], reached: Reached) -> dict[int, str]:
    return {id: because(behind) for id, behind in _behind(recalls, reached).items()}


def _target(session: Session, what: str) -> Recall:
    now = datetime.now(UTC)
    if is_pair(what):
        digest = find_pair(session, what)
        return Recall(digest, "", "", now, pair=digest)
    version = find_version(session, what, "dataset")
    name = session.get_one(t.Dataset, version.dataset_id).name
    return Recall(f"{name}:v{version.number}", "", "", now, version_id=version.id)
