"""A registry whose schema names one page again and again: few bytes that stand for 601 to the power of six rows."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

_POINTERS = 600
_DEPTH = 6


def varint(value: int) -> bytes:
    """A number as SQLite writes it."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def page(size: int, kind: int, cells: list[bytes], rightmost: int | None = None) -> bytes:
    """A page of a tree. ``kind``: 5 for an interior page of a table, 13 for a leaf."""
    data, end = bytearray(size), size
    header = 8 if rightmost is None else 12
    for number, cell in enumerate(cells):
        end -= len(cell)
        data[end : end + len(cell)] = cell
        struct.pack_into(">H", data, header + 2 * number, end)
    struct.pack_into(">BHHH", data, 0, kind, 0, len(cells), end)
    if rightmost is not None:
        struct.pack_into(">I", data, 8, rightmost)
    return bytes(data)


def _record(kind: str, name: str, table: str, root: int) -> bytes:
    texts = [kind.encode(), name.encode(), table.encode()]
    header = b"".join(varint(13 + 2 * len(text)) for text in texts) + b"\x02\x00"
    return varint(len(header) + 1) + header + b"".join(texts) + struct.pack(">H", root)


def make_endless(path: Path) -> None:
    """Add to the schema of the registry at ``path``, which nothing has open."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = database.execute("PRAGMA page_size").fetchone()[0]
        index = "SELECT 'index', name, tbl_name, rootpage FROM sqlite_schema WHERE sql IS NULL AND type = 'index'"
        record = _record(*database.execute(index).fetchone())
    data = bytearray(path.read_bytes())
    assert data[100] == 5, "the schema has an interior page"
    pages = [page(size, 13, [varint(len(record)) + varint(9999) + record])]
    first = len(data) // size + 1
    for depth in range(_DEPTH):
        child = first + depth
        cells = [struct.pack(">I", child) + varint(10_000 + number) for number in range(_POINTERS)]
        pages.append(page(size, 5, cells, child))
    rightmost = struct.unpack_from(">I", data, 108)[0]
    pages.append(page(size, 5, [struct.pack(">I", rightmost) + varint(9000)], first + _DEPTH))
    struct.pack_into(">I", data, 108, first + len(pages) - 1)
    data += b"".join(pages)
    struct.pack_into(">I", data, 28, len(data) // size)
    data[92:96] = data[24:28]
    path.write_bytes(data)
