"""Reviews of the pairs of a dataset."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from caa_registry.display.listing import Listing
from caa_registry.display.records import Record, Table
from caa_registry.errors import UsageError
from caa_registry.pairs.agreement import Agreement, State, agreement

CutRule = Literal["all", "majority", "any"]
CUT_RULES: tuple[CutRule, ...] = ("all", "majority", "any")


@dataclass(frozen=True)
class Decision(Record):
    """The last decision of a reviewer about a pair, named by digest."""

    pair: str
    reviewer: str
    state: State
    reason: str
    created_at: datetime


@dataclass(frozen=True)
class Reviews(Table):
    """The newest decision of each reviewer about each pair of a version, which has ``pairs`` different ones."""

    _facts: ClassVar = "dataset pairs reviewers"

    dataset: str
    pairs: int
    decisions: Sequence[Decision]

    def _rows(self) -> Sequence[Decision]:
        return self.decisions

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

    def agreements(self) -> Listing[Agreement]:
        """Every two reviewers compared."""
        states = {name: {pair: d.state for pair, d in self.of(name).items()} for name in self.reviewers}
        pairs = itertools.combinations(self.reviewers, 2)
        return Listing.whole([agreement(a, states[a], b, states[b]) for a, b in pairs])

    def disagreements(self) -> list[list[Decision]]:
        """The decisions about pairs that not all who decided gave the same state, by pair."""
        by_pair: dict[str, list[Decision]] = {}
        for name in self.reviewers:
            for pair, decision in self.of(name).items():
                by_pair.setdefault(pair, []).append(decision)
        return [decisions for _, decisions in sorted(by_pair.items()) if len({d.state for d in decisions}) > 1]

    def accepted(self, rule: CutRule, reviewers: Sequence[str] = ()) -> list[str]:
        """The digests of the pairs that are accepted by ``all`` who decided them, by the ``majority``, or by ``any``;
        of all reviewers, or of those given."""
        if rule not in CUT_RULES:
            raise UsageError(f"there is no rule {rule!r}", f"Choose one of {', '.join(CUT_RULES)}.")
        votes: dict[str, list[bool]] = {}
        for name in reviewers or self.reviewers:
            for pair, decision in self.of(name).items():
                votes.setdefault(pair, []).append(decision.state == "accepted")
        return sorted(pair for pair, cast in votes.items() if sum(cast) >= _needed(rule, len(cast)))


def _needed(rule: CutRule, votes: int) -> int:
    return {"all": votes, "majority": votes // 2 + 1, "any": 1}[rule]
