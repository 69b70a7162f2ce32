"""Parquet tables, one file or the shards of one split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from caa_registry.errors import InputError
from caa_registry.pairs.sources.files import MAX_ROWS, SourceData
from caa_registry.pairs.sources.rows import Row, listed, no_rows

MAX_ROW_GROUP_BYTES = 2 * 1024**3
_BATCH = 256


def _bad(file: SourceData, error: Exception) -> InputError:
    reason = (str(error) or type(error).__name__).splitlines()[0][:200]
    return InputError(f"not a Parquet table that can be read: {reason}", "Write it again.", source=file.label)


def _opened(file: SourceData) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(pa.BufferReader(file.content))
    names = table.schema_arrow.names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"the table repeats the column {listed(repeated)}", "Rename it.", source=file.label)
    about = table.metadata
    if about.num_rows > MAX_ROWS:
        raise InputError(f"more than {MAX_ROWS} rows", "Split the file.", source=file.label)
    sizes = [about.row_group(index).total_byte_size for index in range(about.num_row_groups)]
    if any(size > MAX_ROW_GROUP_BYTES for size in sizes):
        raise InputError("a row group larger than 2 GiB", "Write smaller row groups.", source=file.label)
    return table


def parquet_rows(file: SourceData) -> Iterator[Row]:
    """The rows of one Parquet file; row 1 is the first. ``InputError`` for whatever cannot be read as one."""
    import pyarrow as pa

    number = 0
    # Arrow's own errors derive from these; KeyError and TypeError come from metadata that contradicts itself.
    failures = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError)
    try:
        batches = _opened(file).iter_batches(batch_size=_BATCH)
        while True:
            batch = next(batches, None)
            if batch is None:
                break
            for values in batch.to_pylist():
                number += 1
                yield Row(number, values)
    except failures as error:
        raise _bad(file, error) from error
    if not number:
        raise no_rows(file)


def shard_rows(files: Sequence[SourceData], paths: Sequence[Path]) -> Iterator[Row]:
    """The rows of the shards of one split, in order, numbered through.

    ``files`` are the shards' bytes and ``paths`` where the same bytes lie. Read with ``datasets``, so shards must
    share their columns; ``InputError`` where they do not.
    """
    import datasets  # type: ignore[import-untyped, unused-ignore]
    import pyarrow as pa

    for file in files:
        try:
            _opened(file)
        except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError) as error:
            raise _bad(file, error) from error
    number = 0
    try:
        rows = datasets.load_dataset(
            "parquet", data_files={"rows": [str(path) for path in paths]}, split="rows", streaming=True
        )
        for number, values in enumerate(rows, 1):
            yield Row(number, values)
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError) as error:
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
