"""Multiple choice with one right answer, as the CAA repository keeps MMLU and TruthfulQA: ``prompt``, ``correct``,
``incorrect``, the texts of both choices, and a ``category``. The positive side is the correct letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from caa_registry.pairs.answers import sides_of
from caa_registry.pairs.record import TEST, Pair
from caa_registry.pairs.sources.cleaning import Cleaning
from caa_registry.pairs.sources.columns import CORRECT, INCORRECT
from caa_registry.pairs.sources.notes import NO_CATEGORY, OTHER_TEXT, Sentence


def _remarks(pair: Pair, values: Mapping[str, Any]) -> Sequence[Sentence]:
    remarks = []
    category = values.get("category")
    if not (isinstance(category, str) and category.strip()):
        remarks.append(NO_CATEGORY)
    sides = sides_of(pair)
    for letter, column in ((sides.positive, CORRECT), (sides.negative, INCORRECT)):
        full = values.get(f"{column}_full_text")
        listed = sides.listing.texts.get(letter.letter, "") if sides.listing and letter else ""
        # Texts of several lines may be listed in part.
        if isinstance(full, str) and full.strip() and _first_line(full) != _first_line(listed):
            remarks.append(OTHER_TEXT)
    return remarks


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0].rstrip()


MULTIPLE_CHOICE = Cleaning("multiple-choice", prompt=str.strip, answer=str.strip, split=TEST, remarks=_remarks)
"""White space around texts is dropped. What is right is nothing to make vectors of, so that pairs go to ``test``."""
