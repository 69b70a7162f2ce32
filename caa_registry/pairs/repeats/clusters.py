"""Which pairs are no independent evidence: one question asked again, in another order of its choices, or nearly so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from caa_registry.pairs.answers import form_of, sides_of
from caa_registry.pairs.questions import plain, question
from caa_registry.pairs.record import Pair
from caa_registry.pairs.repeats.near_duplicates import THRESHOLD, NearIndex

# The share of pairs, and their number, that ask no question.
_INSTRUCTION, _REPEATS = 0.2, 4


def clusters_of(pairs: Sequence[Pair]) -> tuple[int, ...]:
    """Of each pair the number of its cluster, from 0 in the order in which clusters begin.

    Two pairs are in one where they ask the same and offer the same choices, in whatever order, letter case and spacing,
    where their texts are near duplicates, or where both are so of a third. What more than a fifth of the pairs ask,
    and more than four, is no question but an instruction: of free text, those with the same sides are then in one.
    """
    asked = [_asked(pair) for pair in pairs]
    counts = Counter(asked)
    parents = list(range(len(pairs)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    def together(one: int, other: int) -> bool:
        return root(one) == root(other)

    first: dict[tuple[str, ...], int] = {}
    for place, (pair, key) in enumerate(zip(pairs, asked, strict=True)):
        if counts[key] > max(_INSTRUCTION * len(pairs), _REPEATS) and form_of(pair) == "free-form":
            key = *key, *sorted((plain(pair.positive), plain(pair.negative)))
        parents[place] = root(first.setdefault(key, place))
    index = NearIndex(pairs, THRESHOLD)
    for place in range(len(pairs)):
        for near in index.near(place, partial(together, place)):
            one, other = sorted((root(place), root(near)))
            parents[other] = one
        index.add(place)
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(root(place), len(numbers)) for place in range(len(pairs)))


def _asked(pair: Pair) -> tuple[str, ...]:
    return question(pair), *sorted(plain(choice.text) for choice in sides_of(pair).choices)
