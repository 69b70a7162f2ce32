"""Which questions of one set of pairs another set has seen: the same, or nearly.

Two pairs are the same where their prompts are, or without prompts their completions, in any letter case and spacing.
They are nearly the same where the Jaccard similarity of the sets of their three-word sequences, of prompt and both
completions, is 0.8 or more (Broder 1997). Computed exactly, whatever the size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caa_registry.pairs.near_duplicates import THRESHOLD
from caa_registry.pairs.near_index import NearIndex
from caa_registry.pairs.questions import plain
from caa_registry.pairs.record import Pair


@dataclass(frozen=True)
class Overlap:
    """Places of the questions that the other set has: ``same``, and ``near`` without being the same."""

    same: tuple[int, ...]
    near: tuple[int, ...]


def overlap(questions: Sequence[Pair], seen: Sequence[Pair]) -> Overlap:
    """Which of ``questions`` are among ``seen``."""
    texts = {_text(pair) for pair in seen}
    same = {i for i, pair in enumerate(questions) if _text(pair) in texts}
    index = NearIndex([*seen, *questions], THRESHOLD)
    for place in range(len(seen)):
        index.add(place)
    near = [i for i in range(len(questions)) if i not in same and any(True for _ in index.near(len(seen) + i))]
    return Overlap(tuple(sorted(same)), tuple(near))


def _text(pair: Pair) -> tuple[str, ...]:
    if pair.prompt.strip():
        return (plain(pair.prompt),)
    return tuple(sorted((plain(pair.positive), plain(pair.negative))))
