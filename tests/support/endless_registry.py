"""A registry whose schema names one page again and again: few bytes that stand for 601 to the power of six rows."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

_POINTERS = 600
_DEPTH = 6


def _varint(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def _page(size: int, kind: int, cells: list[bytes], rightmost: int | None = None) -> bytes:
    page, end = bytearray(size), size
    header = 8 if rightmost is None else 12
    for number, cell in enumerate(cells):
        end -= len(cell)
        page[end : end + len(cell)] = cell
        struct.pack_into(">H", page, header + 2 * number, end)
    struct.pack_into(">BHHH", page, 0, kind, 0, len(cells), end)
    if rightmost is not None:
        struct.pack_into(">I", page, 8, rightmost)
    return bytes(page)


def _record(kind: str, name: str, table: str, root: int) -> bytes:
    texts = [kind.encode(), name.encode(), table.encode()]
    header = b"".join(_varint(13 + 2 * len(text)) for text in texts) + b"\x02\x00"
    return _varint(len(header) + 1) + header + b"".join(texts) + struct.pack(">H", root)


def make_endless(path: Path) -> None:
    """Add to the schema of the registry at ``path``, which nothing has open."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = database.execute("PRAGMA page_size").fetchone()[0]
        index = "SELECT 'index', name, tbl_name, rootpage FROM sqlite_schema WHERE sql IS NULL AND type = 'index'"
        record = _record(*database.execute(index).fetchone())
    data = bytearray(path.read_bytes())
    assert data[100] == 5, "the schema has an interior page"
    pages = [_page(size, 13, [_varint(len(record)) + _varint(9999) + record])]
    first = len(data) // size + 1
    for depth in range(_DEPTH):
        child = first + depth
        cells = [struct.pack(">I", child) + _varint(10_000 + number) for number in range(_POINTERS)]
        pages.append(_page(size, 5, cells, child))
    rightmost = struct.unpack_from(">I", data, 108)[0]
    pages.append(_page(size, 5, [struct.pack(">I", rightmost) + _varint(9000)], first + _DEPTH))
    struct.pack_into(">I", data, 108, first + len(pages) - 1)
    data += b"".join(pages)
    struct.pack_into(">I", data, 28, len(data) // size)
    data[92:96] = data[24:28]
    path.write_bytes(data)
