"""A/B items of free-form pairs, and free-form pairs of A/B items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from caa_registry.pairs.answers import ab, form_of, sides_of
from caa_registry.pairs.choices import listings, without_heading
from caa_registry.pairs.curation.operation import SEED, WHOLE, Items, Operation
from caa_registry.pairs.curation.result import CurationResult, metadata_key, rank
from caa_registry.pairs.questions import said
from caa_registry.pairs.record import Pair
from caa_registry.progress import Progress
from caa_registry.wording import count, with_article


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
            listing = sides_of(item.pair).listing
            if form_of(item.pair) != "A/B" or listing is None:
                continue
            prompt = without_heading(item.pair.prompt[: listing.begin])
            pair = replace(item.pair, prompt=prompt, positive=positive, negative=negative)
            options = (positive, negative) != (item.pair.positive, item.pair.negative)
            if options and positive.strip() != negative.strip():
                rows.append(replace(item, pair=pair))
        return CurationResult(rows, _left_out(len(items) - len(rows), "free form"))


def _fits(pair: Pair) -> bool:
    one_line = not any("\n" in text or "\r" in text for text in (pair.positive, pair.negative))
    return bool(pair.prompt.strip()) and one_line and form_of(pair) != "A/B" and not _lists(pair)


def _lists(pair: Pair) -> bool:
    """Whether the prompt lists choices, or looks as if it did."""
    return bool(sides_of(pair).choices) or any(listing.evidence == "likely" for listing in listings(pair.prompt))


def _left_out(n: int, form: str) -> list[str]:
    return [f"left out {count(n, 'row')} without {with_article(form)}"] if n else []
