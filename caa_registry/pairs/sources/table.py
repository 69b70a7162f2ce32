"""One file of rows, wherever it lay, read into an ``Imported``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from caa_registry.errors import UsageError
from caa_registry.pairs.answers import letter_of
from caa_registry.pairs.record import Imported, PairItem, QuestionItem
from caa_registry.pairs.source import Source, SourceFile
from caa_registry.pairs.sources.anthropic import ANTHROPIC
from caa_registry.pairs.sources.caa import CAA
from caa_registry.pairs.sources.cleaning import VERBATIM, Cleaning
from caa_registry.pairs.sources.columns import CAA_POSITIVE, CAA_QUESTION, CORRECT, INCORRECT
from caa_registry.pairs.sources.files import SourceData, readable
from caa_registry.pairs.sources.formats import Container, container_of, rows_of
from caa_registry.pairs.sources.items import Choice, ItemBuilder
from caa_registry.pairs.sources.mappings import FORMAT_ROWS, SavedMapping, mapped
from caa_registry.pairs.sources.multiple_choice import MULTIPLE_CHOICE
from caa_registry.pairs.sources.rows import Row

_CONVENTIONS: Mapping[str, Cleaning] = {cleaning.name: cleaning for cleaning in (CAA, ANTHROPIC, MULTIPLE_CHOICE)}


def read_table(
    file: SourceData,
    uri: str,
    *,
    split: str | None,
    columns: Mapping[str, str],
    format: str | None,
    licence: str = "",
    mapping: SavedMapping | None = None,
    limit: int | None = None,
) -> Imported:
    """The items of one file and where they came from. ``limit``: no more than its first rows are read."""
    if format in _CONVENTIONS and columns:
        raise UsageError(f"the format {format} has its own columns", "Leave --column out, or use --format json.")
    part = mapping.part(file.name) if mapping else None
    if part and part["rows"] in FORMAT_ROWS:
        format = part["rows"]
    container = container_of(file, format)
    own_split = split or (mapping.split if mapping else None)
    builder = ItemBuilder(file, chosen_cleaning(container, format, columns), own_split, columns)
    items = builder.build(mapped_rows(islice(rows_of(file, container), limit), part, file))
    source = Source(
        uri=readable(uri),
        format=builder.cleaning.name or container,
        files=file_records(file, items),
        columns=dict(columns),
        mapping=mapping.as_json() if mapping else None,
    )
    licence = licence or (mapping.licence if mapping else "")
    return Imported(builder.kind, items, source, licence, builder.notes.sentences())


def mapped_rows(rows: Iterator[Row], part: Mapping[str, Any] | None, file: SourceData) -> Iterator[Row]:
    """``rows`` as a part of a mapping reads them; unchanged without one, and where it only names a format."""
    return rows if part is None or part["rows"] in FORMAT_ROWS else mapped(rows, part, file)


def file_records(file: SourceData, items: Iterable[PairItem | QuestionItem]) -> tuple[SourceFile, ...]:
    """The record of ``file``: one entry for each split that its rows went to."""
    counts = Counter(item.split for item in items)
    return tuple(SourceFile(file.name, file.digest, split, rows) for split, rows in counts.items())


def chosen_cleaning(container: Container, format: str | None, columns: Mapping[str, str]) -> Choice:
    """How the convention of a row is chosen: the format asked for, else told by field names."""
    asked = _CONVENTIONS.get(format or "", VERBATIM) if format is not None or columns else None

    def choose(row: Row) -> Cleaning:
        if asked is not None:
            return asked
        names = row.values.keys()
        if {CAA_QUESTION, CAA_POSITIVE} <= names and "prompt" not in names and "positive" not in names:
            return {"json": CAA, "jsonl": ANTHROPIC}.get(container, VERBATIM)
        if {CORRECT, INCORRECT} <= names and "positive" not in names and CAA_POSITIVE not in names:
            return MULTIPLE_CHOICE if letter_of(str(row.values[CORRECT])) else VERBATIM
        return CAA if container == "json" and names == {CAA_QUESTION} else VERBATIM

    return choose
