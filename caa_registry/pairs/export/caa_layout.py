"""The folder layout of the CAA repository, for its own scripts."""

from __future__ import annotations

import json
from pathlib import Path

from caa_registry.digests import short
from caa_registry.errors import UsageError
from caa_registry.pairs.answers import sides_of
from caa_registry.pairs.export.rows import Items
from caa_registry.pairs.record import GENERATE, TEST, Pair, PairItem
from caa_registry.pairs.sources.columns import CAA_NEGATIVE, CAA_POSITIVE, CAA_QUESTION
from caa_registry.references import check_name


def write_caa(items: Items, path: Path, behavior: str) -> None:
    """``generate/BEHAVIOR/generate_dataset.json`` and ``test/BEHAVIOR/test_dataset_ab.json``, or of questions
    ``test/BEHAVIOR/test_dataset_open_ended.json``.

    System prompts, turns and metadata have no place in it. Raises ``UsageError`` for other splits than these two, for
    pairs with a system prompt or turns, and for letters that are not written as ``(A)``: the repository's scripts read
    the token before the last one.
    """
    if behavior:
        check_name(behavior)  # it becomes a path, and a registry may come from anybody
    for item in items:
        if item.split not in (GENERATE, TEST):
            raise UsageError(f"the CAA layout has no split {item.split!r}", "Export as jsonl, or split the set anew.")
        if isinstance(item, PairItem) and item.pair.system:
            raise UsageError("the CAA layout has no place for system prompts", "Export as jsonl.")
        if isinstance(item, PairItem) and item.pair.turns:
            where = f"row {item.row}" if item.row else f"pair {short(item.digest)}"
            raise UsageError(
                f"the CAA layout has no place for turns before the prompt, which {where} of {item.split} has",
                "Export as jsonl, or leave such pairs out: caa dataset filter 'turns == 0'.",
            )
        if isinstance(item, PairItem):
            _check_letters(item.pair)
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


def _check_letters(pair: Pair) -> None:
    sides = sides_of(pair)
    for letter, completion in ((sides.positive, pair.positive), (sides.negative, pair.negative)):
        if sides.letters and letter and letter.form != "(A)":
            raise UsageError(
                f"the CAA layout has no place for the answer {completion.strip()[:40]!r}: its scripts read (A) and (B)",
                "Export as jsonl, or write the letters alike first: caa dataset to-free-form, then to-ab.",
            )


def _row(item: object) -> dict[str, str]:
    if isinstance(item, PairItem):
        pair = item.pair
        return {CAA_QUESTION: pair.prompt, CAA_POSITIVE: pair.positive, CAA_NEGATIVE: pair.negative}
    return {CAA_QUESTION: item.text}  # type: ignore[attr-defined]
