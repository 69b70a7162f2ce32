"""What a set of items holds, in figures, split by split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from caa_registry.display.records import Record
from caa_registry.pairs.answers import form_of, sides_of
from caa_registry.pairs.record import PairItem, QuestionItem


@dataclass(frozen=True)
class Lengths(Record):
    """Characters of a text over the rows of a split."""

    mean: float
    shortest: int
    longest: int


@dataclass(frozen=True)
class SplitStatistics(Record):
    """One split. ``distinct``: different items among its ``rows``. ``forms``: how often pairs answer by letters, by Yes
    and No, or freely. ``letters``: how often each letter is the matching answer. ``lengths``: of ``prompt``,
    ``positive`` and ``negative``, or of ``text`` where it holds questions."""

    split: str
    rows: int
    distinct: int
    forms: Mapping[str, int]
    letters: Mapping[str, int]
    lengths: Mapping[str, Lengths]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SplitStatistics:
        """The statistics that ``dataclasses.asdict`` made ``value`` of."""
        return cls(**{**value, "lengths": {name: Lengths(**given) for name, given in value["lengths"].items()}})


def split_statistics(items: Sequence[PairItem] | Sequence[QuestionItem]) -> list[SplitStatistics]:
    """The figures of every split, by name."""
    by_split: dict[str, list[PairItem | QuestionItem]] = defaultdict(list)
    for item in items:
        by_split[item.split].append(item)
    return [_of(split, rows) for split, rows in sorted(by_split.items())]


def statistics_json(items: Sequence[PairItem] | Sequence[QuestionItem]) -> dict[str, Any]:
    """The same as JSON, as it is stored with a version."""
    return {"splits": [asdict(split) for split in split_statistics(items)]}


def _of(split: str, items: Sequence[PairItem | QuestionItem]) -> SplitStatistics:
    pairs = [item.pair for item in items if isinstance(item, PairItem)]
    if pairs:
        texts = {name: [getattr(pair, name) for pair in pairs] for name in ("prompt", "positive", "negative")}
    else:
        texts = {"text": [item.text for item in items if isinstance(item, QuestionItem)]}
    return SplitStatistics(
        split,
        rows=len(items),
        # What makes two items the same are their texts; digests of all would be computed only for this.
        distinct=len(set(pairs)) if pairs else len(set(texts["text"])),
        forms=_counted(form_of(pair) for pair in pairs),
        letters=_counted(letter.letter for pair in pairs if (letter := sides_of(pair).positive)),
        lengths={name: _lengths(values) for name, values in texts.items()},
    )


def _counted(values: Any) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _lengths(texts: Sequence[str]) -> Lengths:
    lengths = [len(text) for text in texts]
    return Lengths(round(sum(lengths) / len(lengths), 2), min(lengths), max(lengths))
