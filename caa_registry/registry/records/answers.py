"""Answers of open-ended evaluations, and how they were rated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One generated answer. ``finish``: ``stop`` or ``length``. ``coherence``: ``n_tokens``, ``distinct_1`` to
    ``distinct_3``, ``repeated_4``, ``longest_run`` (``open_ended.coherence``), and ``mean_log_probability`` of its
    tokens under the unsteered model, in nats; ``None`` where the text is too short for it."""

    position: int
    question: str
    multiplier: float
    text: str
    finish: str
    coherence: dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """One pass of a judge. ``ratings``: by position of the answer, ``None`` where the reply was not a rating; the
    ``replies`` are kept beside them."""

    id: int
    judge: dict[str, Any]
    created_at: datetime
    ratings: dict[int, float | None]
    replies: dict[int, str]

    @property
    def unparsable(self) -> int:
        """How many replies were not a rating."""
        return sum(value is None for value in self.ratings.values())
