"""What changed between two sets of rows: added, removed, moved between splits, or changed in their texts."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from caa_registry.display.records import Record, Row, Table
from caa_registry.pairs.curation.changing import exchanged
from caa_registry.pairs.questions import question, said
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.pairs.repeats.near_duplicates import all_near
from caa_registry.pairs.turns import turns_text

ChangeKind = Literal["moved", "relabelled", "choices exchanged", "edited"]
Piece = tuple[Literal["same", "old", "new"], str]

# Half of the words in common is the same pair edited, rather than another one.
_EDITED = 0.5
# More comparisons than this take seconds; then only near duplicates are told from new rows.
_COMPARED = 250_000
_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True)
class Change(Record):
    """A row that is there before and after, as ``kind`` says: in another split, with its sides swapped, with its
    choices exchanged, or with other words."""

    kind: ChangeKind
    before: PairItem
    after: PairItem

    @property
    def words(self) -> dict[str, list[Piece]]:
        """Of each text that differs its pieces, word by word."""
        after = _texts(self.after.pair)
        return {
            name: word_diff(old, after[name]) for name, old in _texts(self.before.pair).items() if old != after[name]
        }


@dataclass(frozen=True)
class Diff(Table):
    """``added`` and ``removed`` are rows without a counterpart; ``unchanged`` is how many stand in both."""

    _facts: ClassVar = "unchanged"

    added: Sequence[PairItem]
    removed: Sequence[PairItem]
    changes: Sequence[Change]
    unchanged: int

    def _rows(self) -> Sequence[Row]:
        moved = [("removed", self.removed), ("added", self.added)]
        rows = [{"change": kind, **item._as_row()} for kind, items in moved for item in items]
        return rows + [{"change": change.kind, **change.after._as_row()} for change in self.changes]


def diff(removed: Sequence[PairItem], added: Sequence[PairItem], unchanged: int) -> Diff:
    """Match rows that are only in the first set with rows that are only in the second.

    In this order: the same pair in another split; sides swapped; choices exchanged; the same question or the same
    answers with other words; the most alike, where half of the words are the same.
    """
    old, new = list(removed), list(added)
    changes: list[Change] = []
    steps: list[tuple[ChangeKind, Callable[[PairItem], Hashable], Callable[[PairItem], Hashable]]] = [
        ("moved", lambda item: item.digest, lambda item: item.digest),
        ("relabelled", _sides, lambda item: _sides(item)[:1] + _sides(item)[:0:-1]),
        ("choices exchanged", lambda item: exchanged(item.pair).digest, lambda item: item.digest),
        ("edited", lambda item: question(item.pair), lambda item: question(item.pair)),
        ("edited", lambda item: said(item.pair), lambda item: said(item.pair)),
    ]
    for kind, key, other_key in steps:
        changes += _matched(kind, old, new, key, other_key)
    changes += _most_alike(old, new)
    return Diff(new, old, changes, unchanged)


def word_diff(old: str, new: str) -> list[Piece]:
    """``old`` against ``new``, word by word: what is the same, what is only in the old text, what only in the new."""
    before, after = _TOKEN.findall(old), _TOKEN.findall(new)
    pieces: list[Piece] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(("same", "".join(before[a:b])))
            continue
        if b > a:
            pieces.append(("old", "".join(before[a:b])))
        if d > c:
            pieces.append(("new", "".join(after[c:d])))
    return pieces


def _texts(pair: Pair) -> dict[str, str]:
    return {
        "system": pair.system,
        "turns": turns_text(pair.turns),
        "prompt": pair.prompt,
        "positive": pair.positive,
        "negative": pair.negative,
    }


def _sides(item: PairItem) -> tuple[Hashable, ...]:
    pair = item.pair
    return ((pair.system, pair.turns, pair.prompt), pair.positive, pair.negative)


def _matched(
    kind: ChangeKind,
    old: list[PairItem],
    new: list[PairItem],
    key: Callable[[PairItem], Hashable],
    other_key: Callable[[PairItem], Hashable],
) -> Iterator[Change]:
    """Rows of equal keys, each taken out of both lists; of the same split first."""
    for same_split in (True, False):
        waiting: dict[Hashable, list[PairItem]] = defaultdict(list)
        for item in new:
            waiting[other_key(item), item.split if same_split else ""].append(item)
        taken: set[int] = set()
        left = []
        for item in old:
            partners = waiting[key(item), item.split if same_split else ""]
            if partners:
                partner = partners.pop(0)
                taken.add(id(partner))
                yield Change(kind, item, partner)
            else:
                left.append(item)
        old[:] = left
        new[:] = [item for item in new if id(item) not in taken]


def _most_alike(old: list[PairItem], new: list[PairItem]) -> Iterator[Change]:
    """The most alike rows first, each taken once."""
    matched_old: set[int] = set()
    matched_new: set[int] = set()
    for _, before, after in sorted((-share, before, after) for before, after, share in _alike(old, new)):
        if before not in matched_old and after not in matched_new:
            matched_old.add(before)
            matched_new.add(after)
            yield Change("edited", old[before], new[after])
    old[:] = [item for i, item in enumerate(old) if i not in matched_old]
    new[:] = [item for i, item in enumerate(new) if i not in matched_new]


def _alike(old: Sequence[PairItem], new: Sequence[PairItem]) -> list[tuple[int, int, float]]:
    """Places in both lists of rows that share half of their words or more, and the share (Jaccard)."""
    if len(old) * len(new) > _COMPARED:
        near = all_near([item.pair for item in (*old, *new)], first=len(old))
        return [(match.earlier, match.later - len(old), match.similarity) for match in near if match.earlier < len(old)]
    words = [[_words(item) for item in items] for items in (old, new)]
    shares = ((i, j, len(a & b) / len(a | b)) for i, a in enumerate(words[0]) for j, b in enumerate(words[1]))
    return [(i, j, share) for i, j, share in shares if share >= _EDITED]


def _words(item: PairItem) -> frozenset[str]:
    texts = _texts(item.pair).items()
    words = ((name, word) for name, text in texts for word in re.findall(r"\w+", text.casefold()))
    return frozenset(f"{name} {word}" for name, word in words) or frozenset({item.digest})
