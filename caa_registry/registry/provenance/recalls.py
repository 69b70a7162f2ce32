"""Recalls: pairs and dataset versions that turned out bad, and every vector and score that descends from them.

What is quarantined is not stored a second time: it follows from the recalls that stand and from the lineage.

- A vector descends from a pair if the split that it was computed from holds the pair; from a dataset version if it was
  computed from it. Vectors made of such a vector descend too.
- An evaluation descends if its vector does, or if the questions that it asked hold the pair, or are of the version.
- A recalled dataset version takes with it the versions that operations made of it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.digests import short
from caa_registry.errors import UsageError
from caa_registry.pairs.record import checked_text
from caa_registry.registry.lookup import find_version, references
from caa_registry.registry.provenance.descent import made_of

LOGGER = logging.getLogger(__name__)

if TYPE_CHECKING:
    from caa_registry.registry.records import DatasetVersion, Evaluation, VectorVersion
    from caa_registry.registry.registry import Registry

# Of the rows of a split those that an evaluation asked, by their place from 0.
_HALVES = {"all": (0, 1), "even": (0,), "odd": (1,)}
_THERE = t.Evaluation.deleted_at.is_(None)


@dataclass(frozen=True)
class Recall:
    """A recall that stands. ``what``: the digest of a pair, or the reference of a dataset version."""

    what: str
    why: str
    actor: str
    created_at: datetime
    pair: str | None = field(default=None, repr=False)
    version_id: int | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Quarantine:
    """What descends from recalls: ids of vector versions, evaluations and dataset versions, each with the recalls
    behind it."""

    vectors: Mapping[int, Sequence[Recall]] = field(default_factory=dict)
    evaluations: Mapping[int, Sequence[Recall]] = field(default_factory=dict)
    datasets: Mapping[int, Sequence[Recall]] = field(default_factory=dict)


@dataclass(frozen=True)
class Downstream:
    """What one recall reaches: references of dataset versions and vectors, and numbers of evaluations."""

    what: str
    datasets: Sequence[str]
    vectors: Sequence[str]
    evaluations: Sequence[int]


def recall(registry: Registry, what: str, why: str, *, lift: bool, dry_run: bool) -> Downstream:
    """Recall a pair (how its digest begins) or a dataset version (a reference), or take its recall back.

    Raises ``UsageError`` without a reason, for what is recalled already, and for what is not where it is lifted.
    """
    if not why.strip() and not dry_run:
        raise UsageError("a recall needs a reason", "Give --why.")
    checked_text(why, field="why")
    with registry.database.write() as session:
        target = _target(session, what)
        known = {one.what: one for one in standing(session)}.get(target.what)
        if not dry_run and lift and known is None:
            raise UsageError(f"{target.what} is not recalled", "There is nothing to take back.")
        if not dry_run and not lift and known is not None:
            raise UsageError(f"{target.what} is recalled already: {known.why}", "Take that back first (--lift).")
        reached = quarantine(session, [target])
        found = Downstream(
            target.what,
            references(session, "dataset", t.DatasetVersion.id.in_(reached.datasets)),
            references(session, "vector", t.VectorVersion.id.in_(reached.vectors)),
            sorted(reached.evaluations),
        )
        if not dry_run:
            row = t.Recall(
                pair_digest=target.pair,
                version_id=target.version_id,
                lifted=lift,
                why=why,
                actor=registry.actor,
                created_at=datetime.now(UTC),
            )
            session.add(row)
            session.flush()
            subject = {"recall": row.id, "what": target.what, "why": why}
            reach = {"vectors": list(found.vectors), "evaluations": list(found.evaluations)}
            append_event(session, registry.actor, "lift-recall" if lift else "recall", {**subject, **reach})
    return found


def find_pair(session: Session, prefix: str) -> str:
    """The digest of the one pair whose digest begins with ``prefix``. Raises ``UsageError``."""
    begin = f"sha256:{prefix.removeprefix('sha256:')}"
    found = list(
        session.scalars(select(t.Pair.digest).where(t.Pair.digest.startswith(begin, autoescape=True)).limit(2))
    )
    if not found:
        raise UsageError(f"there is no pair {prefix}", "A pair is named by how its digest begins: caa dataset show.")
    if len(found) > 1:
        raise UsageError(f"{prefix} fits several pairs", "Give more digits.")
    return found[0]


def is_pair(what: str) -> bool:
    """Whether ``what`` names a pair by its digest, rather than a dataset."""
    return what.startswith("sha256:") or (len(what) >= 12 and all(c in "0123456789abcdef" for c in what))


def standing(session: Session) -> list[Recall]:
    """The recalls that were not taken back, oldest first."""
    newest = select(func.max(t.Recall.id)).group_by(t.Recall.pair_digest, t.Recall.version_id)
    query = select(t.Recall).where(t.Recall.id.in_(newest), t.Recall.lifted.is_(False)).order_by(t.Recall.id)
    return [
        Recall(
            row.pair_digest or _reference(session, row.version_id or 0),
            row.why,
            row.actor,
            row.created_at,
            row.pair_digest,
            row.version_id,
        )
        for row in session.scalars(query)
    ]


def quarantine(session: Session, recalls: Sequence[Recall] | None = None) -> Quarantine:
    """What descends from ``recalls``, by default from all that stand."""
    recalls = standing(session) if recalls is None else recalls
    if not recalls:
        return Quarantine()
    datasets: dict[int, list[Recall]] = defaultdict(list)
    vectors: dict[int, list[Recall]] = defaultdict(list)
    evaluations: dict[int, list[Recall]] = defaultdict(list)
    for one in recalls:
        reached, held = _of_dataset(session, one) if one.version_id else _of_pair(session, one.pair or "")
        made = made_of(session, "vector", _computed(session, reached, held))
        asked = set(_asked(session, reached, held))
        steered = select(t.Evaluation.id).where(t.Evaluation.vector_version_id.in_(made), _THERE)
        asked |= set(session.scalars(steered))
        for found, ids in ((datasets, reached | {v for v, _ in held}), (vectors, made), (evaluations, asked)):
            for id in ids:
                found[id].append(one)
    return Quarantine(vectors, evaluations, datasets)


def mark_datasets(session: Session, versions: Sequence[DatasetVersion]) -> list[DatasetVersion]:
    """The records with why they are recalled, or hold what is."""
    reached = quarantine(session).datasets
    return [replace(one, recalled=because(reached[one.id])) if one.id in reached else one for one in versions]


def mark_vectors(session: Session, versions: Sequence[VectorVersion]) -> list[VectorVersion]:
    """The records with why they are quarantined."""
    reached = quarantine(session).vectors
    return [replace(one, quarantined=because(reached[one.id])) if one.id in reached else one for one in versions]


def mark_evaluations(session: Session, found: Sequence[Evaluation]) -> list[Evaluation]:
    """The records with why they are quarantined."""
    reached = quarantine(session).evaluations
    return [replace(one, quarantined=because(reached[one.id])) if one.id in reached else one for one in found]


def because(recalls: Sequence[Recall]) -> str:
    """Recalls in words: what was recalled, and why."""
    said = [f"{f'pair {short(one.pair)}' if one.pair else one.what} was recalled: {one.why}" for one in recalls]
    return "; ".join(said)


def warn_of_vector(registry: Registry, version: VectorVersion) -> None:
    """Warn, where a vector is about to be applied, that it is quarantined now."""
    with registry.database.read() as session:
        found = quarantine(session).vectors.get(version.id)
    if found:
        LOGGER.warning("%s is quarantined: %s", version.reference, because(found))


def warn_of_pairs(registry: Registry, version: DatasetVersion, split: str) -> None:
    """Warn, where pairs are about to be used, that they or some of them are recalled."""
    member = t.DatasetMember
    with registry.database.read() as session:
        found = [
            one
            for one in quarantine(session).datasets.get(version.id, ())
            if one.pair is None
            or session.scalar(
                select(member.position)
                .where(member.pair_digest == one.pair, member.version_id == version.id, member.split == split)
                .limit(1)
            )
            is not None
        ]
    if found:
        LOGGER.warning("%s (%s): %s", version.reference, split, because(found))


# (version, split) -> the rows of the split, counted from 0, that hold the pair.
Held = dict[tuple[int, str], list[int]]


def _of_dataset(session: Session, one: Recall) -> tuple[set[int], Held]:
    return made_of(session, "dataset", {one.version_id or 0}), {}


def _of_pair(session: Session, digest: str) -> tuple[set[int], Held]:
    member = t.DatasetMember
    held: Held = defaultdict(list)
    rows = session.execute(
        select(member.version_id, member.split, member.position).where(member.pair_digest == digest)
    ).all()
    for version, split, position in rows:
        before = select(func.count()).where(
            member.version_id == version, member.split == split, member.position < position
        )
        held[version, split].append(session.scalar(before) or 0)
    return set(), held


def _computed(session: Session, versions: set[int], held: Held) -> set[int]:
    """The vectors that were computed from one of ``versions``, or from a split of ``held``."""
    wanted = versions | {version for version, _ in held}
    query = select(t.VectorVersion.id, t.VectorVersion.dataset_version_id, t.VectorVersion.recipe).where(
        t.VectorVersion.dataset_version_id.in_(wanted)
    )
    return {
        id
        for id, dataset, recipe in session.execute(query)
        if dataset in versions or (dataset, recipe["split"]) in held
    }


def _asked(session: Session, versions: set[int], held: Held) -> Iterable[int]:
    """The evaluations that asked questions of one of ``versions``, or a row of ``held``."""
    wanted = versions | {version for version, _ in held}
    query = select(t.Evaluation).where(t.Evaluation.dataset_version_id.in_(wanted), _THERE)
    for evaluation in session.scalars(query):
        if evaluation.dataset_version_id in versions:
            yield evaluation.id
            continue
        rows = held.get((evaluation.dataset_version_id or 0, evaluation.split), [])
        if evaluation.kind == "open-ended":
            # Answers say which row of the split they are about; a limit may have left some out.
            answered = select(t.Response.question).where(t.Response.evaluation_id == evaluation.id)
            if set(rows) & set(session.scalars(answered)):
                yield evaluation.id
        elif any(row % 2 in _HALVES[evaluation.parameters.get("rows", "all")] for row in rows):
            yield evaluation.id


def _target(session: Session, what: str) -> Recall:
    now = datetime.now(UTC)
    if is_pair(what):
        digest = find_pair(session, what)
        return Recall(digest, "", "", now, pair=digest)
    version = find_version(session, what, "dataset")
    return Recall(_reference(session, version.id), "", "", now, version_id=version.id)


def _reference(session: Session, version_id: int) -> str:
    version = session.get_one(t.DatasetVersion, version_id)
    return f"{session.get_one(t.Dataset, version.dataset_id).name}:v{version.number}"
