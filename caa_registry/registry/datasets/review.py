"""Reviews: what each reviewer decides about the pairs of a dataset, and versions cut from what they accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import batches
from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.agreement import check_state
from caa_registry.pairs.curation.operations import Keep
from caa_registry.pairs.record import PairItem, checked_text
from caa_registry.registry.datasets.store import check_rows
from caa_registry.registry.records import CutRule, DatasetVersion, Decision, Reviews
from caa_registry.registry.workspace import Workspace


@dataclass(frozen=True)
class ReviewRequest:
    """What ``reviewer`` decides about pairs of ``version``: (pair digest, state, reason) each."""

    version: DatasetVersion
    decisions: Sequence[tuple[str, str, str]]
    reviewer: str


def reviews(workspace: Workspace, version: DatasetVersion) -> Reviews:
    """The decisions about the pairs of a version. Reviews belong to the dataset: they hold for all its versions."""
    member = t.DatasetMember
    with workspace.database.read() as session:
        check_rows(session, version)
        dataset_id = session.get_one(t.DatasetVersion, version.id).dataset_id
        held = set(session.scalars(select(member.pair_digest).where(member.version_id == version.id)))
        # All rows of the dataset are read, and so checked: one under another pair would hide that pair's decision.
        rows = session.scalars(select(t.Review).where(t.Review.dataset_id == dataset_id).order_by(t.Review.id))
        newest = {(row.pair_digest, row.reviewer): row for row in rows}
        decided = sorted((row for row in newest.values() if row.pair_digest in held), key=lambda row: row.id)
        return Reviews(version.reference, len(held), [decision(row) for row in decided])


def decision(row: t.Review) -> Decision:
    """A review row as a record."""
    return Decision(row.pair_digest, row.reviewer, check_state(row.state), row.reason, row.created_at)


def review(workspace: Workspace, request: ReviewRequest) -> int:
    """Store decisions, all or none; how many were new. What repeats the reviewer's last word is not stored again.

    Raises ``UsageError`` for a reviewer without a name and an unknown state, ``InputError`` for a pair that the version
    does not hold.
    """
    version = request.version
    reviewer = checked_text(request.reviewer, field="reviewer").strip()
    if not reviewer:
        raise UsageError("the reviewer has no name", "Give one, so that reviewers can be told apart.")
    decisions = [
        (pair, check_state(state), checked_text(reason, field="reason")) for pair, state, reason in request.decisions
    ]
    with workspace.database.write() as session:
        named = sorted({pair for pair, _, _ in decisions})
        check_rows(session, version)
        held = _held(session, version, named)
        dataset_id = session.get_one(t.DatasetVersion, version.id).dataset_id
        last = _last(session, dataset_id, reviewer, named)
        new = 0
        for pair, state, reason in decisions:
            if pair not in held:
                raise InputError(f"{version.reference} holds no pair {pair[:19]}", "Review a version that holds it.")
            if last.get(pair, ("proposed", "")) == (state, reason):
                continue
            row = t.Review(
                dataset_id=dataset_id, pair_digest=pair, reviewer=reviewer, state=state, reason=reason,
                created_at=datetime.now(UTC),
            )  # fmt: skip
            session.add(row)
            new += 1
    return new


def undecided(items: Sequence[PairItem], reviews: Reviews, reviewer: str) -> list[PairItem]:
    """The rows whose pair the reviewer has not decided, each pair once, in order."""
    seen = set(reviews.of(reviewer))
    left = []
    for item in items:
        if item.digest not in seen:
            seen.add(item.digest)
            left.append(item)
    return left


def _held(session: Session, version: DatasetVersion, pairs: Sequence[str]) -> set[str]:
    member = t.DatasetMember
    held: set[str] = set()
    for part in batches(pairs):
        query = select(member.pair_digest).where(member.pair_digest.in_(part), member.version_id == version.id)
        held |= set(session.scalars(query))
    return held


def _last(session: Session, dataset_id: int, reviewer: str, pairs: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The last state and reason that a reviewer gave of each pair."""
    last: dict[str, tuple[str, str]] = {}
    for part in batches(pairs):
        query = (
            select(t.Review)
            .where(
                t.Review.dataset_id == dataset_id,
                t.Review.reviewer == reviewer,
                t.Review.pair_digest.in_(part),
            )
            .order_by(t.Review.id)
        )
        last |= {row.pair_digest: (row.state, row.reason) for row in session.scalars(query)}
    return last


def kept(reviews: Reviews, rule: CutRule, reviewers: Sequence[str]) -> Keep:
    """The operation that keeps what reviewers accepted, of all or of those given. Raises ``UsageError`` for a reviewer
    who decided nothing, and where no pair is accepted."""
    unknown = sorted(set(reviewers) - set(reviews.reviewers))
    if unknown:
        raise UsageError(
            f"{unknown[0]} reviewed no pair of {reviews.dataset}",
            f"Reviewers: {', '.join(reviews.reviewers) or 'none yet'}.",
        )
    accepted = reviews.accepted(rule, reviewers)
    if not accepted:
        raise UsageError(f"no pair of {reviews.dataset} is accepted", "Review it: caa dataset review.")
    names = ", ".join(reviewers or reviews.reviewers)
    return Keep(pairs=accepted, why=f"accepted in review by {rule} of {names}")
