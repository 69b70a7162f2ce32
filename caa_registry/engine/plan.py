"""What is run together: batches of similar length, and which tokens are shared between the sides of a pair and between
pairs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

Tokens = Sequence[int]

TOKENS_PER_BATCH = 2048

PASS = 128
"""How many tokens take about as long as reading all weights: what a forward pass more must save to be worth it."""

# What a group more costs, in tokens: a small batch of completions takes about as long for reading the weights.
_GROUP = 64
# Heads within heads within heads: nobody writes so many, and a search without end would cost more than it finds.
_DEEPEST = 8


def batches(lengths: Sequence[int], tokens: int = TOKENS_PER_BATCH) -> Iterator[list[int]]:
    """Indexes into ``lengths``, shortest first, so that little is computed for padding; each batch at most ``tokens``
    wide times high (at least one row)."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[index] > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


@dataclass(frozen=True)
class Group:
    """Pairs that are run together.

    ``head``: how many leading tokens every pair shares with the others of its part of the plan, run once for all.
    ``length``: how many leading tokens of each pair are run once for both sides, ``head`` among them. ``pairs``:
    indexes.
    """

    head: int
    length: int
    pairs: tuple[int, ...]


def shared_heads(prefixes: Sequence[Tokens]) -> list[tuple[int, list[int]]]:
    """Parts of ``prefixes``, each with the number of leading tokens that all of the part share.

    They are so cut that the tokens which need not be run again are most: one system prompt for all, or a few-shot
    header for each of several parts. What shares too little is one part with head 0.
    """
    order = sorted(range(len(prefixes)), key=lambda i: tuple(prefixes[i]))
    common = [_common(prefixes[a], prefixes[b]) for a, b in itertools.pairwise(order)]
    parts: list[tuple[int, list[int]]] = []
    rest = set(order)
    for first, last in _parts(common, 0, len(order), _DEEPEST):
        parts.append((_head(common, first, last), order[first:last]))
        rest -= set(order[first:last])
    return [*parts, (0, sorted(rest))] if rest else parts


def _common(a: Tokens, b: Tokens) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _head(common: Sequence[int], first: int, last: int) -> int:
    return min(common[first : last - 1], default=0)


def _saved(common: Sequence[int], first: int, last: int) -> int:
    return _head(common, first, last) * (last - first - 1) - PASS


def _parts(common: Sequence[int], first: int, last: int, depth: int) -> list[tuple[int, int]]:
    """Slices ``first:last`` of the sorted texts that are worth a head; ``common[i]`` is what text i and the next share.

    Either the whole, or what is found on both sides of every place where neighbours share least.
    """
    if depth == 0 or last - first < 2:
        return []
    head = _head(common, first, last)
    cuts = [i + 1 for i in range(first, last - 1) if common[i] == head]
    apart = [part for a, b in itertools.pairwise([first, *cuts, last]) for part in _parts(common, a, b, depth - 1)]
    whole = _saved(common, first, last)
    if whole > 0 and whole >= sum(_saved(common, a, b) for a, b in apart):
        return [(first, last)]
    return apart


def groups(
    head: int,
    pairs: Sequence[int],
    shared: Sequence[int],
    longest: Sequence[int],
    most: int,
    copies: int = 2,
    runs: float = 1.0,
) -> list[Group]:
    """``pairs`` in groups of similar shared length, of at most ``most`` tokens run at a time (at least one pair).

    ``shared``: for each pair the tokens common to both sides; ``longest``: those of the longer side. The shortest
    prefix of a group is run for all of its pairs, so that nothing is padded before what is read; what a longer pair
    has beyond that is run for each side, or as many ``copies`` as there are, ``runs`` times. The groups are those with
    the fewest tokens to run, padding among them, where one batch more counts as ``_GROUP`` tokens.
    """
    order = sorted(pairs, key=lambda i: (shared[i], longest[i], i))
    # costs[i]: of the best groups of the first i pairs; the last of these groups begins at begins[i].
    costs, begins = [0.0], [0]
    for end in range(1, len(order) + 1):
        width, best, begin = 0, math.inf, end - 1
        for first in range(end - 1, -1, -1):
            width = max(width, longest[order[first]])
            prefix = shared[order[first]]
            once, ends = (end - first) * (prefix - head), (end - first) * copies * (width - prefix)
            if once + ends > most and first < end - 1:
                break
            cost = costs[first] + once + runs * (ends + _GROUP)
            if cost < best:
                best, begin = cost, first
        costs.append(best)
        begins.append(begin)
    planned: list[Group] = []
    end = len(order)
    while end > 0:
        begin = begins[end]
        planned.append(Group(head, shared[order[begin]], tuple(order[begin:end])))
        end = begin
    return planned[::-1]


def evened(planned: Sequence[Group], at_a_time: int) -> list[Group]:
    """``planned``, the last ones halved until ``at_a_time`` who share them all have one to the end."""
    over = len(planned) % at_a_time
    whole, last = list(planned[: len(planned) - over]), list(planned[len(planned) - over :])
    while 0 < len(last) < at_a_time and (largest := max(last, key=lambda group: len(group.pairs))).pairs[1:]:
        i, half = last.index(largest), len(largest.pairs) // 2
        last[i : i + 1] = [replace(largest, pairs=part) for part in (largest.pairs[:half], largest.pairs[half:])]
    return [*whole, *last]
