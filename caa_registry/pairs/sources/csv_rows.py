"""CSV with a header line, read strictly."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from caa_registry.errors import InputError
from caa_registry.pairs.sources.files import SourceData, decoded
from caa_registry.pairs.sources.rows import Row, listed, no_rows

MAX_FIELD = 16 * 1024 * 1024


def csv_rows(file: SourceData) -> Iterator[Row]:
    """The rows below the header; row 1 is the first of them. Empty lines are passed over.

    Raises ``InputError`` for a repeated column name, a row of another width than the header, and bad quoting.
    """
    if csv.field_size_limit() < MAX_FIELD:
        csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(io.StringIO(decoded(file), newline=""), strict=True)
    header: list[str] | None = None
    number = 0
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise InputError(
                f"not CSV near line {reader.line_num}: {error}",
                "Put fields with commas, quotes or line ends in double quotes, and double the quotes inside.",
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
                "Quote fields that hold commas.",
                source=file.label,
                row=number,
            )
        yield Row(number, dict(zip(header, fields, strict=True)))
    if not number:
        raise no_rows(file)


def _checked_header(fields: list[str], file: SourceData) -> list[str]:
    repeated = sorted({name for name in fields if fields.count(name) > 1})
    if repeated:
        raise InputError(f"the header repeats {listed(repeated)}", "Give every column its own name.", source=file.label)
    return fields
