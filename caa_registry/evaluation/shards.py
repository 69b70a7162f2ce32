"""An evaluation divided over machines or processes: each of N measures every N-th question."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from caa_registry.display.records import Record
from caa_registry.errors import CaaError, UsageError


@dataclass(frozen=True)
class Shard(Record):
    """Part ``number``, from 1, of ``of`` equal parts of an evaluation's questions. Raises ``UsageError`` for one that
    does not exist."""

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(f"there is no shard {self}", "Shards of 4 are 1/4, 2/4, 3/4 and 4/4.")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that ``text`` names, such as ``1/4``. Raises ``UsageError``."""
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
        if found is None:
            raise UsageError(f"{text!r} is not a shard", "Write its number and how many there are: 1/4.")
        return cls(int(found[1]), int(found[2]))

    def questions(self, count: int) -> frozenset[int]:
        """Which of ``count`` questions are this shard's."""
        return frozenset(range(self.number - 1, count, self.of))

    def holding(self, questions: Iterable[int]) -> tuple[Shard, ...]:
        """The shards of as many that ``questions`` belong to, in order."""
        return tuple(Shard(number + 1, self.of) for number in sorted({question % self.of for question in questions}))


ALL = Shard()
"""The only one: all questions."""

Place = tuple[int | None, int]
"""A layer (``None``: unsteered) and a question, by index."""


class Placed(Protocol):
    """A part of an evaluation."""

    @property
    def places(self) -> set[Place]: ...


def places(questions: Iterable[int], layers: Iterable[int], multipliers: Sequence[float]) -> set[Place]:
    """Where something is measured. Multiplier 0 is the unsteered model."""
    measured = (None, *(layers if any(multipliers) else ()))
    return {(layer, question) for question in questions for layer in measured}


def missing(places: set[Place], parts: Iterable[Placed]) -> set[Place]:
    """The ``places`` that no part holds."""
    return places.difference(*(part.places for part in parts))


class MissingShardsError(CaaError):
    """An evaluation of which some shards are not done. ``missing``: those; ``kept``: the file with what was done."""

    def __init__(self, message: str, hint: str, missing: tuple[Shard, ...], kept: str = "") -> None:
        super().__init__(message, hint)
        self.missing = missing
        self.kept = kept
