"""Reviews: what each reviewer says of the pairs of a dataset, and versions cut from what they accepted."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import batches
from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.agreement import Agreement, State, agreement, check_state
from caa_registry.pairs.record import PairItem, checked_text
from caa_registry.pairs.review_sheet import write_sheet
from caa_registry.registry.records import DatasetVersion

if TYPE_CHECKING:
    from caa_registry.registry.registry import Registry

CutRule = Literal["all", "majority", "any"]
CUT_RULES: tuple[CutRule, ...] = ("all", "majority", "any")


@dataclass(frozen=True)
class Decision:
    """What a reviewer said last of a pair, by digest."""

    pair: str
    reviewer: str
    state: State
    reason: str
    created_at: datetime


@dataclass(frozen=True)
class Reviews:
    """The newest decision of each reviewer about each pair of a version, which has ``pairs`` different ones."""

    dataset: str
    pairs: int
    decisions: Sequence[Decision]

    @property
    def reviewers(self) -> list[str]:
        return sorted({decision.reviewer for decision in self.decisions})

    def of(self, reviewer: str) -> dict[str, Decision]:
        """Their decisions by pair. A pair that they set back to ``proposed`` is undecided again."""
        return {d.pair: d for d in self.decisions if d.reviewer == reviewer and d.state != "proposed"}

    def counts(self, reviewer: str) -> dict[str, int]:
        """Their decisions by state, and how many pairs are left as ``proposed``."""
        states = Counter[str](decision.state for decision in self.of(reviewer).values())
        return {**states, "proposed": self.pairs - states.total()}

    def agreements(self) -> list[Agreement]:
        """Every two reviewers compared."""
        said = {name: {pair: d.state for pair, d in self.of(name).items()} for name in self.reviewers}
        return [agreement(a, said[a], b, said[b]) for a, b in itertools.combinations(self.reviewers, 2)]

    def disagreements(self) -> list[list[Decision]]:
        """The decisions about pairs that not all who decided gave the same state, by pair."""
        by_pair: dict[str, list[Decision]] = {}
        for name in self.reviewers:
            for pair, decision in self.of(name).items():
                by_pair.setdefault(pair, []).append(decision)
        return [found for _, found in sorted(by_pair.items()) if len({d.state for d in found}) > 1]

    def accepted(self, rule: CutRule, reviewers: Sequence[str] = ()) -> list[str]:
        """The digests of the pairs that are accepted by ``all`` who decided them, by the ``majority``, or by ``any``;
        of all reviewers, or of those given."""
        if rule not in CUT_RULES:
            raise UsageError(f"there is no rule {rule!r}", f"Choose one of {', '.join(CUT_RULES)}.")
        wanted = reviewers or self.reviewers
        votes: dict[str, list[bool]] = {}
        for name in wanted:
            for pair, decision in self.of(name).items():
                votes.setdefault(pair, []).append(decision.state == "accepted")
        return sorted(pair for pair, said in votes.items() if sum(said) >= _needed(rule, len(said)))


def _needed(rule: CutRule, votes: int) -> int:
    return {"all": votes, "majority": votes // 2 + 1, "any": 1}[rule]


def reviews(session: Session, version: DatasetVersion) -> Reviews:
    """What was said of the pairs of a version. Reviews belong to the dataset: they hold for all its versions."""
    member = t.DatasetMember
    dataset_id = session.get_one(t.DatasetVersion, version.id).dataset_id
    held = select(member.pair_digest).where(member.version_id == version.id)
    newest = (
        select(func.max(t.Review.id))
        .where(t.Review.dataset_id == dataset_id, t.Review.pair_digest.in_(held))
        .group_by(t.Review.pair_digest, t.Review.reviewer)
    )
    rows = session.scalars(select(t.Review).where(t.Review.id.in_(newest)).order_by(t.Review.id))
    count = session.scalar(select(func.count(func.distinct(member.pair_digest))).where(member.version_id == version.id))
    return Reviews(version.reference, count or 0, [decision(row) for row in rows])


def decision(row: t.Review) -> Decision:
    """A review row as a record."""
    return Decision(row.pair_digest, row.reviewer, check_state(row.state), row.reason, row.created_at)


def review(
    registry: Registry, version: DatasetVersion, said: Iterable[tuple[str, str, str]], reviewer: str | None
) -> int:
    """Store what a reviewer (by default the actor) says: (pair digest, state, reason) each, all or none; how many were
    new. What repeats their last word is not stored again.

    Raises ``UsageError`` for an unknown state, ``InputError`` for a pair that the version does not hold.
    """
    name = checked_text(reviewer if reviewer is not None else registry.actor, field="reviewer").strip()
    if not name:
        raise UsageError("the reviewer has no name", "Give one, so that reviewers can be told apart.")
    wanted = [(pair, check_state(state), checked_text(reason, field="reason")) for pair, state, reason in said]
    with registry.database.write() as session:
        named = sorted({pair for pair, _, _ in wanted})
        held = _held(session, version, named)
        dataset_id = session.get_one(t.DatasetVersion, version.id).dataset_id
        known = _said(session, dataset_id, name, named)
        new = 0
        for pair, state, reason in wanted:
            if pair not in held:
                raise InputError(f"{version.reference} holds no pair {pair[:19]}", "Review a version that holds it.")
            if known.get(pair, ("proposed", "")) == (state, reason):
                continue
            row = t.Review(
                dataset_id=dataset_id, pair_digest=pair, reviewer=name, state=state, reason=reason,
                created_at=datetime.now(UTC),
            )  # fmt: skip
            session.add(row)
            new += 1
    return new


def review_sheet(
    registry: Registry, version: DatasetVersion, path: Path, reviewer: str | None, split: str | None
) -> int:
    """See ``Datasets.review_sheet``."""
    items = registry.datasets.pairs(version, split)
    said = registry.datasets.reviews(version).of(reviewer if reviewer is not None else registry.actor)
    return write_sheet(path, items, {pair: (decision.state, decision.reason) for pair, decision in said.items()})


def undecided(items: Sequence[PairItem], found: Reviews, reviewer: str) -> list[PairItem]:
    """The rows whose pair the reviewer has not decided, each pair once, in order."""
    seen = set(found.of(reviewer))
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


def _said(session: Session, dataset_id: int, reviewer: str, pairs: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The last state and reason that a reviewer gave of each pair."""
    said: dict[str, tuple[str, str]] = {}
    for part in batches(pairs):
        query = (
            select(t.Review.pair_digest, t.Review.state, t.Review.reason)
            .where(
                t.Review.dataset_id == dataset_id,
                t.Review.reviewer == reviewer,
                t.Review.pair_digest.in_(part),
            )
            .order_by(t.Review.id)
        )
        said |= {pair: (state, reason) for pair, state, reason in session.execute(query)}
    return said


def cut_reason(found: Reviews, rule: CutRule, reviewers: Sequence[str]) -> str:
    """Why a version holds what it holds, for its recipe."""
    return f"accepted in review by {rule} of {', '.join(reviewers or found.reviewers)}"
