"""Operations that leave rows as they are and choose among them: filter, sample, drop, keep, merge, dedupe."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from caa_registry.errors import InputError
from caa_registry.pairs.curation.expression import compiled
from caa_registry.pairs.curation.operation import (
    DIGESTS,
    FLAG,
    MOST_SETS,
    POSITIVE,
    ROWS,
    SEED,
    SHARE,
    TEXT,
    WHOLE,
    Items,
    Operation,
    optional,
)
from caa_registry.pairs.curation.result import CurationResult, metadata_key, rank
from caa_registry.pairs.questions import question
from caa_registry.pairs.record import GENERATE, TEST, PairItem
from caa_registry.pairs.repeats.near_duplicates import THRESHOLD, NearIndex
from caa_registry.progress import Progress
from caa_registry.wording import count


@dataclass(frozen=True)
class Filter(Operation):
    """The rows of which ``expression`` is true. See ``curation/expression.py``."""

    name = "filter"
    expression: str = field(metadata=TEXT)

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        (items,) = sets
        holds = compiled(self.expression)
        return CurationResult([item for item in items if holds(item)])


@dataclass(frozen=True)
class Sample(Operation):
    """``n`` rows, or with ``per_category`` ``n`` of each category (metadata ``category``), chosen by digest: a larger
    sample of the same seed holds a smaller one."""

    name = "sample"
    n: int = field(metadata=POSITIVE)
    seed: int = field(default=SEED, metadata=WHOLE)
    per_category: bool = field(default=False, metadata=FLAG)

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        (items,) = sets
        groups: dict[str, list[PairItem]] = defaultdict(list)
        for item in items:
            groups[str(item.metadata.get("category", "")) if self.per_category else ""].append(item)
        chosen: set[int] = set()
        notes = []
        for category, rows in sorted(groups.items()):
            rows.sort(key=lambda item: (rank(self.seed, f"{item.digest} {item.split}"), metadata_key(item)))
            chosen |= {id(item) for item in rows[: self.n]}
            if len(rows) < self.n:
                verb = "is" if len(rows) == 1 else "are"
                notes.append(f"there {verb} only {count(len(rows), 'row')}{f' of {category}' if category else ''}")
        return CurationResult([item for item in items if id(item) in chosen], notes)


@dataclass(frozen=True)
class Drop(Operation):
    """Without the given ``rows``, each a ``pair`` digest and its ``split``. ``why``: the reason."""

    name = "drop"
    rows: Sequence[Mapping[str, str]] = field(metadata=ROWS)
    why: str = field(metadata=TEXT)

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        (items,) = sets
        dropped = {(row["pair"], row["split"]) for row in self.rows}
        _check_there(items, dropped)
        return CurationResult([item for item in items if (item.digest, item.split) not in dropped])


@dataclass(frozen=True)
class Keep(Operation):
    """Only the given ``pairs``, by digest. ``why``: the reason."""

    name = "keep"
    pairs: Sequence[str] = field(metadata=DIGESTS)
    why: str = field(metadata=TEXT)

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        (items,) = sets
        kept = set(self.pairs)
        return CurationResult([item for item in items if item.digest in kept])


@dataclass(frozen=True)
class Merge(Operation):
    """The rows of all sets, one after the other. A row that several sets hold in one split is taken as often as the set
    that repeats it most."""

    name = "merge"
    takes = (2, MOST_SETS)
    joins = True

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        kept: list[PairItem] = []
        have: Counter[tuple[str, str]] = Counter()
        for items in sets:
            seen: Counter[tuple[str, str]] = Counter()
            for item in items:
                key = (item.digest, item.split)
                seen[key] += 1
                if seen[key] > have[key]:
                    kept.append(item)
            have |= seen
        repeated = sum(map(len, sets)) - len(kept)
        return CurationResult(
            kept, [f"left out {count(repeated, 'row')} that another set holds too"] if repeated else []
        )


@dataclass(frozen=True)
class Dedupe(Operation):
    """One of every group of equal pairs, and of near duplicates at similarity ``near`` or more (``None``: equal pairs
    only), and of pairs that ask the same question where ``questions``.

    Rows of a test split are kept before others, so that nothing of it stays in ``generate``; then by digest. What the
    sets after the first hold is dropped whole.
    """

    name = "dedupe"
    takes = (1, MOST_SETS)
    near: float | str | None = field(default=str(THRESHOLD), metadata=optional(SHARE))
    questions: bool = field(default=False, metadata=FLAG)

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        items, *against = sets
        others = [item for other in against for item in other]
        order = sorted(
            items,
            key=lambda item: (item.split != TEST, item.split == GENERATE, item.split, item.digest, metadata_key(item)),
        )
        listed = [*sorted(others, key=lambda item: (item.digest, item.split)), *order]
        near = None if self.near is None else float(self.near)
        index = NearIndex([item.pair for item in listed], near, progress) if near is not None else None
        digests: set[str] = set()
        asked: set[str] = set()
        kept: set[int] = set()
        reasons: Counter[str] = Counter()
        for place, item in enumerate(listed):
            text = question(item.pair) if self.questions else ""
            own = place >= len(others)
            if own and item.digest in digests:
                reasons["equal to another row"] += 1
            elif own and index is not None and any(True for _ in index.near(place)):
                reasons["nearly equal to another row"] += 1
            elif own and text and text in asked:
                reasons["asking the question of another row"] += 1
            else:
                digests.add(item.digest)
                asked.add(text)
                kept.add(place)
                if index is not None:
                    index.add(place)
        stay = {id(listed[place]) for place in kept if place >= len(others)}
        notes = [f"dropped {count(n, 'row')} {reason}" for reason, n in reasons.items()]
        return CurationResult([item for item in items if id(item) in stay], notes)


def _check_there(items: Items, rows: set[tuple[str, str]]) -> None:
    there = {(item.digest, item.split) for item in items}
    for digest, split in sorted(rows - there):
        raise InputError(f"the set holds no pair {digest[:19]} in {split}", "Look at its rows: caa dataset show.")
