"""A registry in which one cell stands for 900 MB in few bytes: its overflow page leads to itself."""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

from support.endless_registry import page, varint

SIZE = 900_000_000
HOLES = 120_000
"""As many pages as such a cell needs."""


def make_oversized(path: Path, table: str, column: str, *, pages: int = 0) -> None:
    """Have the only row of a table in the registry at ``path``, which nothing has open, hold such a text. ``pages``: as
    many are added to the file, as holes."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page_size = database.execute("PRAGMA page_size").fetchone()[0]
        root = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
        cursor = database.execute(f"SELECT rowid, * FROM {table} LIMIT 1")
        rowid, *cells = cursor.fetchone()
        names = [each[0] for each in cursor.description[1:]]
        key = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[5] and row[2] == "INTEGER"]
    types, values, length = b"", b"", 0
    for name, cell in zip(names, cells, strict=True):
        kind, value = _stored(None if name in key else cell)
        if name == column:
            # What lies in the page is all of it that there is.
            kind, value = varint(13 + 2 * SIZE), b"x" * page_size
            length += SIZE - page_size
        types, values = types + kind, values + value
    payload = varint(len(types) + 1) + types + values
    length += len(payload)
    usable, least = page_size, (page_size - 12) * 32 // 255 - 23
    local = least + (length - least) % (usable - 4)
    local = local if local <= usable - 35 else least
    data = bytearray(path.read_bytes())
    last = len(data) // page_size + 1
    cell = varint(length) + varint(rowid) + payload[:local] + struct.pack(">I", last)
    data[(root - 1) * page_size : root * page_size] = page(page_size, 13, [cell])
    data += struct.pack(">I", last) + b"x" * (page_size - 4)
    struct.pack_into(">I", data, 28, last + pages)
    data[92:96] = data[24:28]
    path.write_bytes(data)
    os.truncate(path, (last + pages) * page_size)


def _stored(value: object) -> tuple[bytes, bytes]:
    """A value as SQLite stores it: its serial type and its bytes."""
    if value is None:
        return b"\x00", b""
    if isinstance(value, int):
        return b"\x06", struct.pack(">q", value)
    if isinstance(value, float):
        return b"\x07", struct.pack(">d", value)
    data = value.encode() if isinstance(value, str) else value
    assert isinstance(data, bytes)
    return varint((13 if isinstance(value, str) else 12) + 2 * len(data)), data
