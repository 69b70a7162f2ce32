"""Answers of open-ended evaluations, and how they were rated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from caa_registry.display.records import Record, Row, Table


@dataclass(frozen=True)
class Answer(Record):
    """One generated answer. ``finish``: ``stop`` or ``length``. ``coherence``: ``n_tokens``, ``distinct_1`` to
    ``distinct_3``, ``repeated_4``, ``longest_run`` (``open_ended.coherence``), and ``mean_log_probability`` of its
    tokens under the unsteered model, in nats; ``None`` where the text is too short for it."""

    _columns: ClassVar = "question multiplier text finish n_tokens"

    position: int
    question: str
    multiplier: float
    text: str
    finish: str
    coherence: dict[str, Any]

    def _as_row(self) -> dict[str, Any]:
        said = {"position": self.position, "question": self.question, "multiplier": self.multiplier, "text": self.text}
        return {**said, "finish": self.finish, **self.coherence}


@dataclass(frozen=True)
class Judged(Table):
    """One pass of a judge. ``ratings``: by position of the answer, ``None`` where the reply was not a rating; the
    ``replies`` are kept beside them."""

    _facts: ClassVar = "judge unparsable created_at"

    id: int
    judge: dict[str, Any]
    created_at: datetime
    ratings: dict[int, float | None]
    replies: dict[int, str]

    def _rows(self) -> Sequence[Row]:
        return [
            {"position": place, "rating": rating, "reply": self.replies.get(place)}
            for place, rating in self.ratings.items()
        ]

    @property
    def unparsable(self) -> int:
        """How many replies were not a rating."""
        return sum(value is None for value in self.ratings.values())
