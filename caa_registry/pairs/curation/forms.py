"""A/B items of free-form pairs, and free-form pairs of A/B items."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from caa_registry.pairs.answers import ab, choices, form_of
from caa_registry.pairs.curation.operation import SEED, WHOLE, Items, Operation
from caa_registry.pairs.curation.result import CurationResult, count, metadata_key, rank
from caa_registry.pairs.questions import said
from caa_registry.pairs.record import Pair
from caa_registry.progress import Progress

# Begins where white space does, so that a long run of it is read once.
_CHOICES = re.compile(
    r"(?<!\s)\s*(?:^[ \t]*(?:Choices|Options|Answers?):[ \t]*\n)?^[ \t]*\([A-Z]\).*", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class ToAB(Operation):
    """Free-form and Yes/No pairs as A/B items in the layout of the CAA paper, the matching letter A in every second one
    of a split, in the order of their digests.

    Rows without a prompt, with several lines in an answer, or with letters already, have no A/B form and are left out.
    """

    name = "to-ab"
    seed: int = field(default=SEED, metadata=WHOLE)

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        (items,) = sets
        usable = [item for item in items if _fits(item.pair)]
        ordered = sorted(usable, key=lambda item: (item.split, rank(self.seed, item.digest), metadata_key(item)))
        first = {}
        place = {"": 0}
        for item in ordered:
            first[id(item)] = place.setdefault(item.split, 0) % 2 == 0
            place[item.split] += 1
        rows = [replace(item, pair=ab(item.pair, positive_first=first[id(item)])) for item in usable]
        return CurationResult(rows, _left_out(len(items) - len(rows), "A/B form"))


@dataclass(frozen=True)
class ToFreeForm(Operation):
    """A/B items as free-form pairs: the question without its choices, the options of the two letters as its answers.

    Rows that are no A/B items, or whose letters have no choice, are left out.
    """

    name = "to-free-form"

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        (items,) = sets
        rows = []
        for item in items:
            positive, negative = said(item.pair)
            if form_of(item.pair) == "A/B" and (positive, negative) != (item.pair.positive, item.pair.negative):
                pair = Pair(_CHOICES.sub("", item.pair.prompt), positive, negative, item.pair.system)
                if positive.strip() != negative.strip():
                    rows.append(replace(item, pair=pair))
        return CurationResult(rows, _left_out(len(items) - len(rows), "free form"))


def _fits(pair: Pair) -> bool:
    one_line = not any("\n" in text or "\r" in text for text in (pair.positive, pair.negative))
    return bool(pair.prompt.strip()) and one_line and form_of(pair) != "A/B" and not choices(pair.prompt)


def _left_out(n: int, form: str) -> list[str]:
    return [f"left out {count(n, 'row')} without {'an' if form.startswith('A') else 'a'} {form}"] if n else []
