"""A dataset's items as plain rows, which an import reads back to the same dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from caa_registry.pairs.record import PairItem, QuestionItem
from caa_registry.pairs.sources.columns import RESERVED
from caa_registry.pairs.turns import turns_json

Items = Sequence[PairItem] | Sequence[QuestionItem]


def row(item: PairItem | QuestionItem) -> dict[str, Any]:
    """``prompt``, ``positive``, ``negative``, ``system``, ``split`` and ``metadata`` of a pair, and any ``turns``;
    ``question``, ``split`` and ``metadata`` of a question. The row number and the count of choices are left out: an
    import finds them."""
    metadata = {name: value for name, value in item.metadata.items() if name not in RESERVED}
    if isinstance(item, QuestionItem):
        return {"question": item.text, "split": item.split, "metadata": metadata}
    pair = item.pair
    texts = {"prompt": pair.prompt, "positive": pair.positive, "negative": pair.negative, "system": pair.system}
    turns = {"turns": turns_json(pair.turns)} if pair.turns else {}
    return {**texts, **turns, "split": item.split, "metadata": metadata}


def splits_of(items: Iterable[PairItem | QuestionItem]) -> list[str]:
    """The splits in the order of their first rows."""
    return list(dict.fromkeys(item.split for item in items))
