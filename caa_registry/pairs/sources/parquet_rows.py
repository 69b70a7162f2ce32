"""Parquet tables, one file or the shards of one split."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from caa_registry.errors import InputError
from caa_registry.pairs.sources.arrow_rows import BATCH, ArrowRows, decoded_size, most_decoded
from caa_registry.pairs.sources.files import MAX_COLUMNS, MAX_ROWS, SourceData
from caa_registry.pairs.sources.parquet_pages import BeyondBoundsError, claims, footer_of
from caa_registry.pairs.sources.rows import Row, listed, no_rows, repeated_names

MAX_ROW_GROUP_BYTES = 2 * 1024**3
# What a batch may come to where each of its rows repeats the longest texts that there are.
_BATCH_BYTES = 128 * 1024 * 1024
_MOST_LISTED_BYTES = 128 * 1024 * 1024


def _failures() -> tuple[type[Exception], ...]:
    import pyarrow as pa

    # Arrow's own errors derive from these; KeyError and TypeError come from metadata that contradicts itself.
    return (pa.ArrowException, OSError, ValueError, TypeError, LookupError, RuntimeError, MemoryError, struct.error)


def _bad(file: SourceData, error: Exception) -> InputError:
    if isinstance(error, BeyondBoundsError):
        return InputError(f"the table has {error}", "Write it with fewer, or in smaller row groups.", source=file.label)
    reason = (str(error) or type(error).__name__).splitlines()[0][:200]
    return InputError(f"not a Parquet table that can be read: {reason}", "Write it again.", source=file.label)


def _opened(file: SourceData) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    footer_of(memoryview(file.content))  # raises for one that pyarrow would make too much of
    about = pq.read_metadata(pa.BufferReader(file.content))
    if about.num_columns > MAX_COLUMNS:
        raise BeyondBoundsError(f"{about.num_columns:,} columns, more than {MAX_COLUMNS:,}")
    if about.num_rows > MAX_ROWS:
        raise InputError(f"more than {MAX_ROWS} rows", "Split the file.", source=file.label)
    sizes = [about.row_group(index).total_byte_size for index in range(about.num_row_groups)]
    if any(size > MAX_ROW_GROUP_BYTES for size in sizes):
        raise InputError("a row group larger than 2 GiB", "Write smaller row groups.", source=file.label)
    table = pq.ParquetFile(pa.BufferReader(file.content), metadata=about)
    repeated = repeated_names(table.schema_arrow.names)
    if repeated:
        raise InputError(f"the table repeats the column {listed(repeated)}", "Rename it.", source=file.label)
    return table


def _batches(file: SourceData) -> Iterator[Any]:
    """The batches of a file, none larger than its headers bear out. What they come to is for the caller to count."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = _opened(file).metadata
    content = memoryview(file.content)
    held = claims(content, footer_of(content), about.schema)
    if held.unpacked > most_decoded(len(file.content)):
        raise BeyondBoundsError(f"pages that come to {held.unpacked >> 20} MiB")
    if held.listed:
        # Nobody knows how often a list repeats a text. Read as they are stored, they tell.
        stored = pq.ParquetFile(pa.BufferReader(file.content), metadata=about, read_dictionary=list(held.listed))
        for i in range(about.num_row_groups):
            for batch in stored.read_row_group(i, columns=list(held.listed)).to_batches():
                _check_lists(batch)
    table = pq.ParquetFile(pa.BufferReader(file.content), metadata=about)
    rows = min(BATCH, max(1, _BATCH_BYTES // max(held.widest, 1)))
    yield from table.iter_batches(batch_size=rows)


def _check_lists(batch: Any) -> None:
    """Raise ``BeyondBoundsError`` where ``BATCH`` rows of ``batch`` come to more than may be held at a time."""
    if decoded_size(batch) <= _MOST_LISTED_BYTES:
        return
    if batch.num_rows <= BATCH:
        raise BeyondBoundsError(f"lists that come to more than {_MOST_LISTED_BYTES >> 20} MiB in a few rows")
    half = batch.num_rows // 2
    _check_lists(batch.slice(0, half))
    _check_lists(batch.slice(half))


def parquet_rows(file: SourceData) -> Iterator[Row]:
    """The rows of one Parquet file; row 1 is the first. ``InputError`` for whatever cannot be read as one."""
    rows = ArrowRows(len(file.content), file.label)
    any_row = False
    try:
        for batch in _batches(file):
            for row in rows.of(batch):
                any_row = True
                yield row
    except _failures() as error:
        raise _bad(file, error) from error
    if not any_row:
        raise no_rows(file)


def shard_rows(files: Sequence[SourceData], paths: Sequence[Path]) -> Iterator[Row]:
    """The rows of the shards of one split, in order, numbered through.

    ``files`` are the shards' bytes and ``paths`` where the same bytes lie. Read with ``datasets``, so shards must
    share their columns; ``InputError`` where they do not.
    """
    import datasets  # type: ignore[import-untyped, unused-ignore]

    for file in files:
        try:
            rows = ArrowRows(len(file.content), file.label)
            for batch in _batches(file):
                rows.count(batch)
        except _failures() as error:
            raise _bad(file, error) from error
    number = 0
    try:
        streamed = datasets.load_dataset(
            "parquet", data_files={"rows": [str(path) for path in paths]}, split="rows", streaming=True
        )
        for number, values in enumerate(streamed, 1):
            yield Row(number, values)
    except _failures() as error:
        raise InputError(
            f"the shards do not read as one table: {str(error).splitlines()[0][:200]}",
            "Import one of the files by its name.",
            source=files[0].label,
        ) from error
    if not number:
        raise no_rows(files[0])


def shard_row_count(file: SourceData) -> int:
    """How many rows one shard holds."""
    return int(_opened(file).metadata.num_rows)
