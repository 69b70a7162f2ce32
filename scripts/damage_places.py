"""Which bytes of a SQLite file are what: headers, cell pointers, payload, overflow, free pages; also of its log.

After "Database File Format" (sqlite.org/fileformat2.html). Only what a sound file holds is read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

INTERIOR_INDEX, INTERIOR_TABLE, LEAF_INDEX, LEAF_TABLE = 0x02, 0x05, 0x0A, 0x0D


@dataclass(frozen=True)
class Place:
    """Bytes from ``start`` up to ``end``. ``kind``: what they are."""

    kind: str
    start: int
    end: int


def places(path: Path) -> list[Place]:
    """All bytes of a file without a log, in the order of the file."""
    data = path.read_bytes()
    found = [Place("file header", 0, 100), *_free(data)]
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        roots = [("schema", 1)]
        roots += connection.execute("SELECT type, rootpage FROM sqlite_master WHERE rootpage > 0").fetchall()
    for tree, root in roots:
        found += _tree(data, root, tree)
    found = sorted((place for place in found if place.end > place.start), key=lambda place: place.start)
    return [*found, *_rest(found, len(data))]


def _rest(found: list[Place], size: int) -> Iterator[Place]:
    """What nothing refers to: room between cells, and what was deleted."""
    at = 0
    for place in [*found, Place("", size, size)]:
        if place.start > at:
            yield Place("unused", at, place.start)
        at = max(at, place.end)


def _page_size(data: bytes) -> int:
    size = int.from_bytes(data[16:18], "big")
    return 65536 if size == 1 else size


def _number(data: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends."""
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | data[place] & 0x7F
        if data[place] < 0x80:
            return value, place + 1
    return value << 8 | data[at + 8], at + 9


def _free(data: bytes) -> Iterator[Place]:
    size, trunk = _page_size(data), _number(data, 32)
    while trunk:
        start = (trunk - 1) * size
        count = _number(data, start + 4)
        yield Place("freelist trunk", start, start + 8 + 4 * count)
        for number in range(count):
            leaf = _number(data, start + 8 + 4 * number)
            yield Place("freelist leaf", (leaf - 1) * size, leaf * size)
        trunk = _number(data, start)


def _tree(data: bytes, page: int, tree: str) -> Iterator[Place]:
    size = _page_size(data)
    usable = size - data[20]
    start = (page - 1) * size
    header = start + (100 if page == 1 else 0)
    kind, count = data[header], _number(data, header + 3, 2)
    interior = kind in (INTERIOR_INDEX, INTERIOR_TABLE)
    pointers = header + (12 if interior else 8)
    yield Place(f"{tree}: page header", header, pointers)
    yield Place(f"{tree}: cell pointers", pointers, pointers + 2 * count)
    for number in range(count):
        cell = start + _number(data, pointers + 2 * number, 2)
        at = cell
        if interior:
            yield from _tree(data, _number(data, cell), tree)
            at += 4
        if kind == INTERIOR_TABLE:
            yield Place(f"{tree}: cell header", cell, _varint(data, at)[1])
            continue
        length, at = _varint(data, at)
        if kind == LEAF_TABLE:
            _, at = _varint(data, at)
        yield Place(f"{tree}: cell header", cell, at)
        yield from _payload(data, at, length, usable, tree, table=kind == LEAF_TABLE)
    if interior:
        yield from _tree(data, _number(data, header + 8), tree)


def _payload(data: bytes, at: int, length: int, usable: int, tree: str, *, table: bool) -> Iterator[Place]:
    most = usable - 35 if table else (usable - 12) * 64 // 255 - 23
    least = (usable - 12) * 32 // 255 - 23
    local = length
    if length > most:
        local = least + (length - least) % (usable - 4)
        local = local if local <= most else least
    header, _ = _varint(data, at)
    yield Place(f"{tree}: record header", at, at + min(header, local))
    yield Place(f"{tree}: payload", at + min(header, local), at + local)
    left = length - local
    if not left:
        return
    yield Place(f"{tree}: overflow pointer", at + local, at + local + 4)
    page, size = _number(data, at + local), _page_size(data)
    while left > 0:
        start = (page - 1) * size
        yield Place(f"{tree}: overflow pointer", start, start + 4)
        yield Place(f"{tree}: overflow", start + 4, start + 4 + min(left, usable - 4))
        left -= usable - 4
        page = _number(data, start)


def log_places(path: Path) -> list[Place]:
    """The bytes of a write-ahead log."""
    data = path.read_bytes()
    size = 24 + _number(data, 8)
    found = [Place("log: header", 0, 32)]
    for start in range(32, len(data) - size + 1, size):
        found += [
            Place("log: page number and size", start, start + 8),
            Place("log: salt", start + 8, start + 16),
            Place("log: checksum", start + 16, start + 24),
            Place("log: page", start + 24, start + size),
        ]
    return found
