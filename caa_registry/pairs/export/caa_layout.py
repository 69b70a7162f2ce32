"""The folder layout of the CAA repository, for its own scripts."""

from __future__ import annotations

import json
from pathlib import Path

from caa_registry.errors import UsageError
from caa_registry.pairs.export.rows import Items
from caa_registry.pairs.record import GENERATE, TEST, PairItem
from caa_registry.pairs.sources.columns import CAA_NEGATIVE, CAA_POSITIVE, CAA_QUESTION
from caa_registry.references import check_name


def write_caa(items: Items, path: Path, behavior: str) -> None:
    """``generate/BEHAVIOR/generate_dataset.json`` and ``test/BEHAVIOR/test_dataset_ab.json``, or of questions
    ``test/BEHAVIOR/test_dataset_open_ended.json``.

    System prompts and metadata have no place in it. Raises ``UsageError`` for other splits than these two, and for
    pairs with a system prompt.
    """
    if behavior:
        check_name(behavior)  # it becomes a path, and a registry may come from anybody
    for item in items:
        if item.split not in (GENERATE, TEST):
            raise UsageError(f"the CAA layout has no split {item.split!r}", "Export as jsonl, or split the set anew.")
        if isinstance(item, PairItem) and item.pair.system:
            raise UsageError("the CAA layout has no place for system prompts", "Export as jsonl.")
    for split in (GENERATE, TEST):
        rows = [_row(item) for item in items if item.split == split]
        if rows:
            questions = CAA_POSITIVE not in rows[0]
            name = "open_ended" if questions else "ab"
            file = (
                path
                / split
                / behavior
                / ("generate_dataset.json" if split == GENERATE else f"test_dataset_{name}.json")
            )
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(rows, ensure_ascii=False, indent=4) + "\n", encoding="utf-8")


def _row(item: object) -> dict[str, str]:
    if isinstance(item, PairItem):
        pair = item.pair
        return {CAA_QUESTION: pair.prompt, CAA_POSITIVE: pair.positive, CAA_NEGATIVE: pair.negative}
    return {CAA_QUESTION: item.text}  # type: ignore[attr-defined]
