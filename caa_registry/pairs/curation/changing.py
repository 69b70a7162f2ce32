"""Operations that change rows: their split, their labels, the order of their choices, their texts."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.answers import form_of, sides_of
from caa_registry.pairs.choices import place_of
from caa_registry.pairs.curation.expression import compiled
from caa_registry.pairs.curation.operation import (
    CHANGES,
    ITEMS,
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
from caa_registry.pairs.record import GENERATE, TEST, Pair, PairItem, checked_pair
from caa_registry.pairs.repeats.near_duplicates import THRESHOLD, NearIndex
from caa_registry.pairs.turns import turns_of
from caa_registry.progress import Progress
from caa_registry.wording import count

DEV = "dev"
_REFERS = re.compile(
    r"\(?\b[AB]\b\)?\s+(?:and|or|nor)\s+\(?[AB]\b|\bthe (?:first|second|other|former|latter|above|below)\b"
)


@dataclass(frozen=True)
class Split(Operation):
    """Every row in ``generate``, ``dev`` or ``test``: a share of ``test`` and ``dev`` of each stratum (form, matching
    letter, category), chosen by digest.

    Rows that are the same, nearly the same, or ask the same question go to one split together. Running it raises
    ``UsageError`` for shares of more than 1 together.
    """

    name = "split"
    test: float | str = field(metadata=SHARE)
    dev: float | str = field(default="0", metadata=SHARE)
    seed: int = field(default=SEED, metadata=WHOLE)

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        (items,) = sets
        shares = {TEST: float(self.test), DEV: float(self.dev)}
        if sum(shares.values()) > 1:
            raise UsageError("the shares of test and dev add up to more than 1", "What is left goes to generate.")
        strata: dict[tuple[str, ...], list[list[PairItem]]] = defaultdict(list)
        for group in _groups(items, progress):
            first = group[0]
            category = first.metadata.get("category", "")
            letter = sides_of(first.pair).positive
            strata[form_of(first.pair), letter.letter if letter else "", str(category)].append(group)
        places: dict[int, str] = {}
        due = {TEST: 0.0, DEV: 0.0}
        given = {TEST: 0, DEV: 0}
        for key in sorted(strata):
            groups = sorted(strata[key], key=lambda group: rank(self.seed, group[0].digest))
            size = sum(map(len, groups))
            # What rounding leaves of one stratum is carried to the next, so that the whole has the shares asked for.
            due = {name: due[name] + share * size for name, share in shares.items()}
            for group in groups:
                name = next((s for s in (TEST, DEV) if given[s] + len(group) <= due[s] + 0.5), GENERATE)
                if name != GENERATE:
                    given[name] += len(group)
                places |= {id(item): name for item in group}
        return CurationResult([replace(item, split=places[id(item)]) for item in items])


def _groups(items: Items, progress: Progress | None) -> list[list[PairItem]]:
    """Rows that have to stay together, each group by digest."""
    ordered = sorted(items, key=lambda item: (item.digest, item.split, metadata_key(item)))
    parent = list(range(len(ordered)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for i, item in enumerate(ordered):
        parent[root(i)] = root(first.setdefault(question(item.pair), i))
    index = NearIndex([item.pair for item in ordered], THRESHOLD, progress)
    for i in range(len(ordered)):
        # Of what is together already nothing more can be learned.
        for other in index.near(i, lambda other: root(other) == root(i)):  # noqa: B023 - used before i moves on
            parent[root(i)] = root(other)
        index.add(i)
    groups: dict[int, list[PairItem]] = defaultdict(list)
    for i, item in enumerate(ordered):
        groups[root(i)].append(item)
    return list(groups.values())


@dataclass(frozen=True)
class Relabel(Operation):
    """The sides swapped, of all rows or of those that the expression ``where`` holds of. ``why``: the reason."""

    name = "relabel"
    why: str = field(metadata=TEXT)
    where: str | None = field(default=None, metadata=optional(TEXT))

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        (items,) = sets
        holds = compiled(self.where) if self.where else (lambda item: True)
        rows = []
        swapped = 0
        for item in items:
            if holds(item):
                item = replace(item, pair=replace(item.pair, positive=item.pair.negative, negative=item.pair.positive))
                swapped += 1
            rows.append(item)
        return CurationResult(rows, [f"swapped the sides of {count(swapped, 'row')}"])


@dataclass(frozen=True)
class Balance(Operation):
    """In each split A and B match equally often, or one apart.

    The options change places within items of the letter that matches more often, chosen by digest. Only items with the
    two choices A and B (or 1 and 2) are counted and changed, and of these not where an option speaks of the others.
    """

    name = "balance"
    seed: int = field(default=SEED, metadata=WHOLE)

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        (items,) = sets
        swap: set[int] = set()
        left = 0
        for name in {item.split for item in items}:
            first_matches: dict[bool, list[PairItem]] = {True: [], False: []}
            for item in items:
                if item.split == name:
                    letters = _two_letters(item.pair)
                    if letters is None:
                        left += 1
                    else:
                        first_matches[letters[0] < letters[1]].append(item)
            more = max(first_matches.values(), key=len)
            excess = abs(len(first_matches[True]) - len(first_matches[False])) // 2
            movable = [item for item in more if not _REFERS.search(" ".join(_texts(item.pair)))]
            movable.sort(key=lambda item: (rank(self.seed, item.digest), metadata_key(item)))
            swap |= {id(item) for item in movable[:excess]}
        rows = [replace(item, pair=exchanged(item.pair)) if id(item) in swap else item for item in items]
        notes = [f"exchanged the choices of {count(len(swap), 'row')}"]
        if left:
            notes.append(f"left {count(left, 'row')} without the two choices A and B as they were")
        return CurationResult(rows, notes)


def _two_letters(pair: Pair) -> tuple[str, str] | None:
    """The letters of both sides where they are those of the only two choices."""
    sides = sides_of(pair)
    if sides.letters is None or len(sides.choices) != 2 or {*map(place_of, sides.letters)} != {0, 1}:
        return None
    return sides.letters


def _texts(pair: Pair) -> list[str]:
    return [choice.text for choice in sides_of(pair).choices]


def exchanged(pair: Pair) -> Pair:
    """The pair with the texts of the choices of its sides exchanged in the prompt, and the letters of its sides. A side
    that says more than its letter keeps its text."""
    sides = sides_of(pair)
    positive, negative = pair.negative, pair.positive
    if sides.positive and sides.negative and (sides.positive.text or sides.negative.text):
        positive = sides.positive.exchanged(pair.positive, sides.negative.letter)
        negative = sides.negative.exchanged(pair.negative, sides.positive.letter)
    own = [choice for choice in sides.choices if choice.letter in (sides.letters or ())]
    prompt = pair.prompt
    if len(own) == 2:
        first, last = own
        one, between, other = (
            prompt[start:stop]
            for start, stop in ((first.start, first.stop), (first.stop, last.start), (last.start, last.stop))
        )
        prompt = prompt[: first.start] + other + between + one + prompt[last.stop :]
    return replace(pair, prompt=prompt, positive=positive, negative=negative)


@dataclass(frozen=True)
class Edit(Operation):
    """Rows changed, dropped and added.

    Each of ``changes`` names a ``pair`` by digest and its ``split``: ``to`` lists what rows of it become, ``drop`` says
    how many of it are dropped. ``added`` are new rows. A row is its four texts, ``turns``, ``split`` and ``metadata``.
    ``why``: the reason.
    """

    name = "edit"
    why: str = field(metadata=TEXT)
    changes: Sequence[Mapping[str, Any]] = field(default=(), metadata=CHANGES)
    added: Sequence[Mapping[str, Any]] = field(default=(), metadata=ITEMS)

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        (items,) = sets
        by_row: dict[tuple[str, str], list[PairItem]] = defaultdict(list)
        for item in sorted(items, key=metadata_key):
            by_row[item.digest, item.split].append(item)
        becomes: dict[int, PairItem | None] = {}
        done: Counter[str] = Counter()
        for change in self.changes:
            rows = by_row[change["pair"], change["split"]]
            new = [row_of(value) for value in change["to"]]
            if len(rows) < len(new) + change["drop"]:
                raise InputError(
                    f"the set holds pair {change['pair'][:19]} {count(len(rows), 'time')} in {change['split']}",
                    "The edit belongs to another version.",
                )
            for item, value in zip(rows, [*new, *[None] * change["drop"]], strict=False):
                becomes[id(item)] = value and replace(value, metadata={**item.metadata, **value.metadata})
            by_row[change["pair"], change["split"]] = rows[len(new) + change["drop"] :]
            done["changed"] += len(new)
            done["dropped"] += change["drop"]
        kept = [becomes.get(id(item), item) for item in items]
        added = [row_of(value) for value in self.added]
        done["added"] += len(added)
        notes = [f"{what} {count(n, 'row')}" for what, n in done.items() if n]
        return CurationResult([item for item in (*kept, *added) if item is not None], notes)


def row_of(value: Mapping[str, Any]) -> PairItem:
    """The row that JSON describes. Raises ``InputError``."""
    texts = {name: value.get(name, "") for name in ("prompt", "positive", "negative", "system")}
    pair = Pair(**texts, turns=turns_of(value.get("turns")))
    return PairItem(checked_pair(pair), value.get("split", GENERATE), value.get("metadata", {}))
