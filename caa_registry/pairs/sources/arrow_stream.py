"""Arrow streams as ``save_to_disk`` of datasets writes them. Others can stand for far more than they hold."""

from __future__ import annotations

import struct
from typing import Any

from caa_registry.errors import InputError
from caa_registry.pairs.sources.files import MAX_COLUMNS, SourceData

_MOST_SCHEMA_BYTES = 8 * 1024 * 1024
# Where the tables of a message have what is looked at, in their order in Arrow's Message.fbs.
_HEADER, _COMPRESSION = 2, 3


def arrow_table(file: SourceData) -> Any:
    """The table of ``file``, which lies in its bytes. Raises ``InputError`` for one that cannot be read, is compressed,
    or has columns of other kinds than datasets writes."""
    import pyarrow as pa

    try:
        _check_messages(file)
        with pa.ipc.open_stream(pa.BufferReader(file.data)) as reader:
            if len(reader.schema) > MAX_COLUMNS:
                raise ValueError(f"{len(reader.schema):,} columns, more than {MAX_COLUMNS:,}")
            for field in reader.schema:
                _check_type(field.type)
            table = reader.read_all()
        table.validate(full=True)
    except (
        *(pa.ArrowException, OSError, ValueError, TypeError, LookupError),
        *(RuntimeError, MemoryError, RecursionError, struct.error),
    ) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise InputError(
            f"not an Arrow stream that can be read: {reason}",
            "Save the dataset again with save_to_disk.",
            source=file.label,
        ) from error
    if len(set(table.column_names)) != len(table.column_names):
        raise InputError("the table repeats a column", "Rename it.", source=file.label)
    return table


def _check_messages(file: SourceData) -> None:
    """Raise ``ValueError`` for a compressed message, before it is unpacked, and for a schema of many megabytes."""
    import pyarrow as pa

    messages = pa.ipc.MessageReader.open_stream(pa.BufferReader(file.data))
    while True:
        try:
            message = messages.read_next_message()
        except StopIteration:
            return
        if message.type == "schema" and message.metadata.size > _MOST_SCHEMA_BYTES:
            raise ValueError("its schema is too large")
        if message.type == "record batch" and _is_compressed(message.metadata.to_pybytes()):
            raise ValueError("it is compressed")


def _is_compressed(metadata: bytes) -> bool:
    (root,) = struct.unpack_from("<I", metadata)
    header = _field(metadata, root, _HEADER)
    if not header:
        return False
    (offset,) = struct.unpack_from("<I", metadata, header)
    return _field(metadata, header + offset, _COMPRESSION) != 0


def _field(metadata: bytes, table: int, number: int) -> int:
    """Where a table of a flatbuffer has a field; 0 where it has none."""
    (back,) = struct.unpack_from("<i", metadata, table)
    entry = table - back
    (size,) = struct.unpack_from("<H", metadata, entry)
    if 4 + 2 * number >= size:
        return 0
    (offset,) = struct.unpack_from("<H", metadata, entry + 4 + 2 * number)
    return table + offset if offset else 0


def _check_type(kind: Any) -> None:
    """Raise ``ValueError`` for a kind of column in which a value may lie in one place and stand in many."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    types = pa.types
    views = types.is_string_view, types.is_binary_view, types.is_list_view, types.is_large_list_view
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind) or any(is_view(kind) for is_view in views):
        raise ValueError(f"it has a column of {str(kind)[:60]}")
    for i in range(kind.num_fields):
        _check_type(kind.field(i).type)
