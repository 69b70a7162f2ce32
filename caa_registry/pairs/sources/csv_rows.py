"""CSV with a header line, read strictly; its fields are separated by commas, semicolons, tabs or bars."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping

from caa_registry.errors import InputError
from caa_registry.pairs.sources.columns import known_name
from caa_registry.pairs.sources.files import MAX_COLUMNS, SourceData, decoded
from caa_registry.pairs.sources.rows import Row, listed, no_rows, repeated_names

MAX_FIELD = 16 * 1024 * 1024

SEPARATORS: Mapping[str, str] = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

_TOLD = re.compile(rf"sep=([{re.escape(''.join(SEPARATORS))}])\r?\n")
# So many rows are tried with each separator.
_TRIED = 20


# Of one row, those inside its texts counted too.
_MOST_SEPARATORS = 250_000
_LINE = re.compile(r"[^\r\n]*+(?:\r\n?|\n)|[^\r\n]++")


class _Lines:
    """The lines of ``text``. ``fields``: how many separators those of the present row have so far; ``csv.Error`` where
    they are more than a row may have."""

    def __init__(self, text: str, separator: str) -> None:
        self._text = text
        self._lines = _LINE.finditer(text)
        self._separator = separator
        self.fields = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.fields += self._text.count(self._separator, line.start(), line.end())
        if self.fields > _MOST_SEPARATORS:
            raise csv.Error(f"a row has more than {_MOST_SEPARATORS:,} {SEPARATORS[self._separator]}")
        return line[0]


def csv_rows(file: SourceData) -> Iterator[Row]:
    """The rows below the header; row 1 is the first of them. Empty lines are passed over.

    Raises ``InputError`` for a repeated column name, a row of another width than the header, and bad quoting.
    """
    if csv.field_size_limit() < MAX_FIELD:
        csv.field_size_limit(MAX_FIELD)
    text = decoded(file)
    # The line by which Excel is told the separator.
    told = _TOLD.match(text)
    text = text[told.end() :] if told else text
    separator = told[1] if told else _separator(text)
    name = SEPARATORS[separator]
    lines = _Lines(text, separator)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    header: list[str] | None = None
    number = 0
    while True:
        try:
            lines.fields = 0
            fields = next(reader, None)
        except csv.Error as error:
            raise InputError(
                f"not CSV near line {reader.line_num}, read as fields separated by {name}: {error}",
                f"Put fields with {name}, quotes or line ends in double quotes, and double the quotes inside.",
                source=file.label,
                row=number + 1 if header else None,
            ) from None
        if fields is None:
            break
        if not fields:
            continue
        if header is None:
            header = _checked_header(fields, file)
            continue
        number += 1
        if len(fields) != len(header):
            raise InputError(
                f"{len(fields)} fields under a header of {len(header)} (the row ends at line {reader.line_num})",
                f"The fields are separated by {name}: put those that hold {name} themselves in double quotes.",
                source=file.label,
                row=number,
            )
        yield Row(number, dict(zip(header, fields, strict=True)))
    if not number:
        raise no_rows(file)


def _separator(text: str) -> str:
    """The separator under which the header names most of the parts of a pair, then under which the first rows are as
    wide as the header, then under which it has several fields; commas where that is none."""

    def fitness(separator: str) -> tuple[int, bool, bool]:
        head = _head(text, separator)
        if not head:
            return 0, False, False
        header = head[0]
        known = sum(known_name(name) is not None for name in header)
        return known, len(header) > 1 and all(len(row) == len(header) for row in head), len(header) > 1

    return max(SEPARATORS, key=fitness)


def _head(text: str, separator: str) -> list[list[str]]:
    """The first rows with ``separator``, as far as they are well-formed; none where the header is not."""
    head: list[list[str]] = []
    lines = _Lines(text, separator)
    try:
        for fields in csv.reader(lines, delimiter=separator, strict=True):
            lines.fields = 0
            if fields:
                head.append(fields)
            if len(head) == _TRIED:
                break
    except csv.Error:
        pass
    return head


def _checked_header(fields: list[str], file: SourceData) -> list[str]:
    if len(fields) > MAX_COLUMNS:
        raise InputError(
            f"the header names {len(fields):,} columns, more than {MAX_COLUMNS:,}", "Leave some out.", source=file.label
        )
    repeated = repeated_names(fields)
    if repeated:
        raise InputError(f"the header repeats {listed(repeated)}", "Give every column its own name.", source=file.label)
    return fields
