"""A set and its rows as the rules see them: what is derived from the texts once, for all rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from caa_registry.pairs.answers import Sides, sides_of, yes_or_no
from caa_registry.pairs.choices import Choice
from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.questions import question, said
from caa_registry.pairs.record import GENERATE, Pair, PairItem
from caa_registry.progress import Progress


@dataclass(frozen=True)
class Row:
    """``number``: of the source. ``question``: plain, without choices. ``positive`` and ``negative``: what the sides
    say, options behind letters looked up. ``sides``: their letters, and the choices of the prompt."""

    pair: Pair
    digest: str
    split: str
    number: int | None
    question: str
    positive: str
    negative: str
    sides: Sides

    @property
    def letters(self) -> tuple[str, str] | None:
        """The letters of both sides, positive first, where they are letters."""
        return self.sides.letters

    @property
    def choices(self) -> Sequence[Choice]:
        """Those that the prompt lists."""
        return self.sides.choices

    @property
    def speaks(self) -> bool:
        """Whether the sides say more than a letter, Yes or No."""
        if self.letters is not None:
            return bool(self.choices)
        return not (yes_or_no(self.positive) and yes_or_no(self.negative))

    def finding(self, rule: str, message: str) -> Finding:
        return Finding(rule, message, self.split, self.digest, self.number)


@dataclass(frozen=True)
class Subject:
    """The set that is checked. ``others``: the sets it is compared with, by reference; ``licence``: as recorded, empty
    where none is. A check puts what it measures of the whole set into ``figures``, whether or not it finds anything."""

    rows: Sequence[Row]
    others: Mapping[str, Sequence[Row]]
    licence: str
    progress: Progress | None
    figures: dict[str, dict[str, float]] = field(default_factory=dict)


Check = Callable[[Subject], Iterable[Finding]]
"""Finds where a set breaks one rule or several. The result does not depend on the order of rows."""


def rows_of(items: Sequence[PairItem]) -> list[Row]:
    """The rows by split (``generate`` first), digest and row number, so that no rule depends on their order in a
    file."""
    rows = [_row(item) for item in items]
    return sorted(rows, key=lambda row: (row.split != GENERATE, row.split, row.digest, row.number or 0))


def _row(item: PairItem) -> Row:
    pair = item.pair
    return Row(
        pair,
        pair.digest,
        item.split,
        item.row,
        question(pair),
        *said(pair),
        sides=sides_of(pair),
    )


def place(row: Row) -> str:
    """Where a row stands, in a message."""
    return f"row {row.number} of {row.split}" if row.number is not None else f"{row.split} ({row.digest[7:19]})"
