"""How repetitive a text is: steering too strongly makes text that goes round in circles before it makes none."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Repetition:
    """Of a text as tokens.

    ``distinct_1`` to ``distinct_3``: different n-grams among all n-grams (distinct-n, Li et al. 2016). ``repeated_4``:
    the share of 4-grams that stood in the text before (seq-rep-4, Welleck et al. 2020). Both are between 0 and 1, and
    ``None`` where the text has no such n-gram. ``longest_run``: the number of tokens in the longest stretch that is
    one block of tokens, whole or cut off at the end, at least twice in a row; 0 where there is none.
    """

    n_tokens: int
    distinct_1: float | None
    distinct_2: float | None
    distinct_3: float | None
    repeated_4: float | None
    longest_run: int


def repetition(tokens: Sequence[Hashable]) -> Repetition:
    """How repetitive a text is, from its tokens: ids of a model's tokenizer, or words."""
    repeated = distinct(tokens, 4)
    return Repetition(
        len(tokens),
        distinct(tokens, 1),
        distinct(tokens, 2),
        distinct(tokens, 3),
        None if repeated is None else 1 - repeated,
        longest_run(tokens),
    )


def distinct(tokens: Sequence[Hashable], n: int) -> float | None:
    """Different n-grams among all n-grams; ``None`` where there are none."""
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def longest_run(tokens: Sequence[Hashable]) -> int:
    """The number of tokens in the longest stretch with a period that fits into it at least twice."""
    longest = 0
    for period in range(1, len(tokens) // 2 + 1):
        alike = 0
        for i in range(period, len(tokens)):
            alike = alike + 1 if tokens[i] == tokens[i - period] else 0
            if alike >= period:
                longest = max(longest, alike + period)
    return longest
