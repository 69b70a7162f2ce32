"""Two text files of prompts, one side each: line i of one against line i of the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.record import Imported
from caa_registry.pairs.source import Source
from caa_registry.pairs.sources.cleaning import VERBATIM
from caa_registry.pairs.sources.files import SourceData, decoded, read_file, readable
from caa_registry.pairs.sources.items import ItemBuilder
from caa_registry.pairs.sources.rows import Row
from caa_registry.pairs.sources.table import file_records
from caa_registry.wording import count

_SYNTAX = "Write lines:POSITIVE_FILE,NEGATIVE_FILE."


def load_lines(
    source: str, *, split: str | None, columns: Mapping[str, str], format: str | None, licence: str
) -> Imported:
    """The pairs of two text files: every prompt is empty, the lines are the sides."""
    if columns or format not in (None, "lines"):
        raise UsageError("lines have neither columns nor another format", "Leave --column and --format out.")
    positive, negative = open_lines(source)
    both = SourceData(source, f"{positive.label} and {negative.label}", b"")
    builder = ItemBuilder(both, lambda _: VERBATIM, split, {})
    items = builder.build(line_rows(positive, negative))
    record = Source(
        uri=readable(source),
        format="lines",
        files=(*file_records(positive, items), *file_records(negative, items)),
    )
    return builder.imported(items, record, licence)


def open_lines(source: str) -> tuple[SourceData, SourceData]:
    """The two files of ``lines:POSITIVE_FILE,NEGATIVE_FILE`` (the prefix may be left out).

    Where names hold commas themselves, the comma that leaves two files that exist is taken.
    """
    text = source.removeprefix("lines:")
    parts = text.split(",")
    ways = [(",".join(parts[:cut]), ",".join(parts[cut:])) for cut in range(1, len(parts))]
    if not ways:
        raise UsageError(f"{source!r} names one file, not two", _SYNTAX)
    positive, negative = next((way for way in ways if all(_is_file(name) for name in way)), ways[0])
    if not positive or not negative:
        raise UsageError(f"{source!r} leaves a file name empty", _SYNTAX)
    return read_file(Path(positive)), read_file(Path(negative))


def _is_file(name: str) -> bool:
    try:
        return bool(name) and Path(name).is_file()
    except (OSError, ValueError):
        return False


def line_rows(positive: SourceData, negative: SourceData) -> Iterator[Row]:
    """Rows of ``positive`` and ``negative``; row i is line i. Blank lines at the end do not count.

    Raises ``InputError`` for a blank line before the end and for files of unequal length.
    """
    positives, negatives = _lines(positive), _lines(negative)
    if len(positives) != len(negatives):
        raise InputError(
            f"{positive.label} has {count(len(positives), 'line')} and {negative.label} has {len(negatives)}",
            "Line i of one file is set against line i of the other.",
        )
    for number, (with_behavior, without) in enumerate(zip(positives, negatives, strict=True), 1):
        for file, line in ((positive, with_behavior), (negative, without)):
            if not line.strip():
                raise InputError("the line is blank", "Every line is one side.", source=file.label, row=number)
        yield Row(number, {"positive": with_behavior, "negative": without})


def _lines(file: SourceData) -> list[str]:
    lines = [line.removesuffix("\r") for line in decoded(file).split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines
