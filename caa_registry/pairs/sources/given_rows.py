"""Rows that a Python program hands in, in place of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from caa_registry.digests import digest_object
from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.record import Imported, Pair, check_split_name
from caa_registry.pairs.source import Source
from caa_registry.pairs.sources.cleaning import VERBATIM
from caa_registry.pairs.sources.columns import check_mapping
from caa_registry.pairs.sources.files import SourceData
from caa_registry.pairs.sources.items import ItemBuilder
from caa_registry.pairs.sources.replies import mixture_notes
from caa_registry.pairs.sources.rows import Conversation, Row
from caa_registry.pairs.sources.table import file_records

GivenRow = Pair | Mapping[str, Any] | Sequence[str]
"""A pair, the columns of a row, or a tuple of (prompt, positive, negative) or (positive, negative)."""

URI = "python:rows"
_TUPLES: Mapping[int, tuple[str, ...]] = {2: ("positive", "negative"), 3: ("prompt", "positive", "negative")}


def load_rows(
    rows: Sequence[GivenRow],
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    licence: str = "",
) -> Imported:
    """The items of ``rows``, texts as they are; ``split`` and ``columns`` as for a file.

    The record of the source has the digest of what was handed in. Raises ``InputError`` naming the row, ``UsageError``.
    """
    columns = columns or {}
    check_split_name(split)
    check_mapping(columns)
    if type(rows).__name__ == "DataFrame":
        raise UsageError("the rows are a whole DataFrame", "Give its rows: frame.to_dict('records').")
    if isinstance(rows, str | Mapping | Pair) or not isinstance(rows, Iterable):
        raise UsageError(f"the rows are no list but {type(rows).__name__}", "Give a list of pairs, tuples or dicts.")
    whole = SourceData("rows", "the rows given", b"")
    builder = ItemBuilder(whole, lambda _: VERBATIM, split, columns)
    items = builder.build(_rows(rows, whole))
    data = digest_object("rows", {"rows": [[item.digest, item.split, dict(item.metadata)] for item in items]})
    files = tuple(replace(record, digest=data) for record in file_records(whole, items))
    source = Source(uri=URI, format="rows", files=files, columns=dict(columns), split=split)
    imported = builder.imported(items, source, licence)
    return replace(imported, notes=[*imported.notes, *mixture_notes(imported.mixture)])


def load_texts(
    positive: Sequence[str], negative: Sequence[str], *, split: str | None = None, licence: str = ""
) -> Imported:
    """The pairs of two lists of whole texts, text i of one against text i of the other; every prompt is empty.

    Raises ``UsageError`` for lists of unequal length, ``InputError`` as ``load_rows``.
    """
    for name, texts in (("positive", positive), ("negative", negative)):
        if isinstance(texts, str):
            raise UsageError(f"the {name} texts are one string", "Give a list of texts.")
        if isinstance(texts, Mapping) or not (hasattr(texts, "__len__") and hasattr(texts, "__getitem__")):
            raise UsageError(f"the {name} texts are in no order: {type(texts).__name__}", "Give a list of texts.")
    if len(positive) != len(negative):
        raise UsageError(
            f"{len(positive)} positive texts and {len(negative)} negative ones",
            "Text i of one list is set against text i of the other.",
        )
    return load_rows(list(zip(positive, negative, strict=True)), split=split, licence=licence)


def _rows(rows: Sequence[GivenRow], whole: SourceData) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        # A pair is what it is: its texts are not looked into for messages.
        said = Conversation(row.system, row.turns, row.prompt) if isinstance(row, Pair) else None
        yield Row(number, _values(row, number, whole), said)


def _values(row: Any, number: int, whole: SourceData) -> Mapping[str, Any]:
    if isinstance(row, Pair):
        return {"prompt": row.prompt, "positive": row.positive, "negative": row.negative, "system": row.system}
    if isinstance(row, Mapping) and all(isinstance(name, str) for name in row):
        return row
    if isinstance(row, tuple | list) and len(row) in _TUPLES:
        return dict(zip(_TUPLES[len(row)], row, strict=True))
    raise InputError(
        f"not a pair but {type(row).__name__}",
        "A row is a Pair, a dict with columns, or a tuple of (prompt, positive, negative) or (positive, negative).",
        source=whole.label,
        row=number,
    )
