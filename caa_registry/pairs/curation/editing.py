"""What a person gives, rows of a file and an edited JSONL, as the parameters of ``drop`` and ``edit``."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from caa_registry.digests import DIGEST
from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.curation.changing import row_of
from caa_registry.pairs.record import GENERATE, Pair, PairItem, check_split_name
from caa_registry.pairs.sources.json_rows import parse_json
from caa_registry.pairs.turns import is_turns_json, turns_json

Items = Sequence[PairItem]

_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{6,64})")
_FIELDS = ("digest", "split", "turns", "prompt", "positive", "negative", "system", "metadata")


def chosen_rows(items: Items, text: str, split: str | None) -> list[dict[str, str]]:
    """The rows that ``text`` names: numbers of the source, ranges of them, or how digests begin, with commas between.

    Each as ``pair`` and ``split``, sorted. Raises ``UsageError`` for what names none, or, where rows of several splits
    have a number, without a ``split``.
    """
    rows_named: set[tuple[str, str]] = set()
    rows = [item for item in items if split in (None, item.split)]
    for part in (part.strip() for part in text.split(",")):
        numbers, prefix = _RANGE.fullmatch(part), _PREFIX.fullmatch(part)
        if numbers and not (prefix and len(part) >= 12):
            first, last = int(numbers[1]), int(numbers[2] or numbers[1])
            named = [item for item in rows if item.row is not None and first <= item.row <= last]
            splits = sorted({item.split for item in named})
            if len(splits) > 1:
                raise UsageError(f"rows {part} stand in {' and '.join(splits)}", "Give --split.")
        elif prefix:
            named = [item for item in rows if item.digest.startswith(f"sha256:{prefix[1]}")]
            if len({item.digest for item in named}) > 1:
                raise UsageError(f"{part} fits several pairs", "Give more digits.")
        else:
            raise UsageError(f"{part!r} names no rows", "Write 1,5-9 or how a digest begins: 3f2a90bc41de.")
        if not named:
            raise UsageError(f"there is no row {part}", "Look at the rows: caa dataset show, caa dataset export.")
        rows_named |= {(item.digest, item.split) for item in named}
    return [{"pair": digest, "split": name} for digest, name in sorted(rows_named)]


def editable(items: Items) -> str:
    """The rows as JSON lines for an editor, each with the digest of the pair that it is now."""
    return "".join(json.dumps(_line(item), ensure_ascii=False) + "\n" for item in items)


def _line(item: PairItem) -> dict[str, Any]:
    pair = item.pair
    texts = {"prompt": pair.prompt, "positive": pair.positive, "negative": pair.negative}
    system = {"system": pair.system} if pair.system else {}
    return {"digest": item.digest, "split": item.split, **_turns(pair), **texts, **system}


def _turns(pair: Pair) -> dict[str, Any]:
    """The turns of a pair where it has any: what was written without them stays as it was."""
    return {"turns": turns_json(pair.turns)} if pair.turns else {}


def edits(items: Items, text: str, source: str) -> dict[str, Any]:
    """What the edited lines change, as ``changes`` and ``added`` of the operation ``edit``.

    A line with a digest is a row of that pair, whatever it says now; a line without one is new; rows without a line are
    dropped. Raises ``InputError`` naming the line.
    """
    before = Counter((item.digest, item.split) for item in items)
    homes: dict[str, list[str]] = {}
    for pair, split in before:
        homes.setdefault(pair, []).append(split)
    unchanged: Counter[tuple[str, str]] = Counter()
    changed: dict[tuple[str, str], list[dict[str, Any]]] = {}
    added = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        value = _checked(parse_json(line, source=source, row=number), source, number)
        row = row_of(value)
        digest = value.get("digest")
        if digest is None:
            added.append(_row_json(row))
            continue
        # The split may be what was changed: then the pair's own is meant, if it has one only.
        key = (digest, row.split) if (digest, row.split) in before else (digest, homes.get(digest, [""])[0])
        if key not in before:
            raise InputError(
                f"the set holds no pair {digest[:19]}", "Leave the digest out for a new row.", source=source, row=number
            )
        if (row.digest, row.split) == key:
            unchanged[key] += 1
        else:
            changed.setdefault(key, []).append(_row_json(row))
        if unchanged[key] + len(changed.get(key, ())) > before[key]:
            raise InputError("the pair has more lines than rows", "Remove one.", source=source, row=number)
    changes = []
    for place, rows in sorted(before.items()):
        to = changed.get(place, [])
        drop = rows - unchanged[place] - len(to)
        if to or drop:
            to.sort(key=lambda row: json.dumps(row, sort_keys=True))
            changes.append({"pair": place[0], "split": place[1], "to": to, "drop": drop})
    return {"changes": changes, "added": added}


def _checked(value: Any, source: str, number: int) -> dict[str, Any]:
    def bad(message: str, hint: str, field: str = "") -> InputError:
        return InputError(message, hint, source=source, row=number, field=field)

    if not isinstance(value, dict):
        raise bad("a line is not an object", "Write one object a line.")
    for name in value:
        if name not in _FIELDS:
            raise bad("there is no such field", f"Fields: {', '.join(_FIELDS)}.", name)
    for name in ("positive", "negative"):
        if name not in value:
            raise bad("is missing", "Every row needs both sides.", name)
    for name in ("digest", "split", "prompt", "positive", "negative", "system"):
        if not isinstance(value.get(name, ""), str):
            raise bad("is not a text", "Quote it.", name)
    if not is_turns_json(value.get("turns", [])):
        raise bad("is not a list of messages", 'Write [{"role": "user", "content": "..."}, ...].', "turns")
    if not isinstance(value.get("metadata", {}), dict):
        raise bad("is not an object", "Leave it out.", "metadata")
    if "digest" in value and not DIGEST.fullmatch(value["digest"]):
        raise bad("is not a digest", "Leave it out for a new row.", "digest")
    check_split_name(value.get("split", GENERATE))
    try:
        row_of(value)
    except InputError as error:
        raise bad(error.message, error.hint) from None
    return value


def _row_json(row: PairItem) -> dict[str, Any]:
    pair = row.pair
    texts = {"prompt": pair.prompt, "positive": pair.positive, "negative": pair.negative, "system": pair.system}
    return {**texts, **_turns(pair), "split": row.split, "metadata": dict(row.metadata)}
