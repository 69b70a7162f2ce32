"""What a Parquet file claims to hold, read from its headers before any of it is decoded: it may be a stranger's.

Footer and pages have headers in Thrift's compact protocol. The pages tell how many values they hold and how long those
can be, which is what decoding them takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# In values of headers. A structure counts more, as it takes some hundred bytes in memory.
_MOST_IN_FOOTER = 2_000_000
_MOST_IN_PAGES = 2_000_000
_STRUCTURE = 6
# Of the columns that hold lists, in one row group: all of them may be in one row.
_MOST_LISTED = 5_000_000
_PAGE_BYTES = 1 << 30
_DICTIONARY_PAGE = 2
_DELTA_BYTE_ARRAY = 7
_PLAIN = 0
# Fields of the footer: of the file, of a row group, of a column (its type, values, bytes and first page).
_ROW_GROUPS, _COLUMNS, _CHUNK_METADATA, _COLUMN_NUMBERS, _DICTIONARY_OFFSET = 4, 1, 3, (1, 5, 7, 9), 11
_BYTE_ARRAYS = (6, 7)


class BeyondBoundsError(ValueError):
    """A file whose headers claim more than rows of text need."""


@dataclass(frozen=True)
class Claims:
    """``unpacked``: bytes of all pages, unpacked. ``widest``: what a row of flat columns may come to in bytes;
    ``listed``: the columns with lists whose values may be long."""

    unpacked: int
    widest: int
    listed: tuple[str, ...]


def claims(content: memoryview, footer: Mapping[int, Any], schema: Any) -> Claims:
    """What the pages of a file say that they hold. ``footer`` is that of ``footer_of``, whose columns pyarrow would end
    the process over where they are damaged; ``schema`` is what pyarrow makes of it.

    Raises ``BeyondBoundsError``, and ``ValueError`` or ``LookupError`` for headers that are none.
    """
    reader = _Thrift(content, _MOST_IN_PAGES)
    unpacked, widest, listed = 0, 0, dict[str, None]()
    for group in _structures(footer, _ROW_GROUPS):
        wide = in_lists = 0
        for j, chunk in enumerate(_structures(group, _COLUMNS)):
            bytes_, longest, values = _column(reader, chunk[_CHUNK_METADATA])
            unpacked += bytes_
            if schema.column(j).max_repetition_level:
                in_lists += values
                if longest:
                    listed[schema.column(j).path] = None
            else:
                wide += longest
        if in_lists > _MOST_LISTED:
            raise BeyondBoundsError(f"a row group with more than {_MOST_LISTED:,} values in lists")
        widest = max(widest, wide)
    return Claims(unpacked, widest, tuple(listed))


def _column(reader: _Thrift, column: Mapping[int, Any]) -> tuple[int, int, int]:
    """Bytes of all pages of a column, the longest value that one may repeat, and how many values there are."""
    kind, most, packed, start = (_number(column, field) for field in _COLUMN_NUMBERS)
    if _DICTIONARY_OFFSET in column and 0 < _number(column, _DICTIONARY_OFFSET) < start:
        start = _number(column, _DICTIONARY_OFFSET)
    place, end = start, start + packed
    unpacked = longest = values = 0
    while values < most and place < end:
        header, place = reader.structure(place)
        page_kind, size, packed = (_number(header, field) for field in (1, 2, 3))
        page = header.get(5) or header.get(8)
        if not 0 <= size <= _PAGE_BYTES or packed < 0:
            raise BeyondBoundsError("a page larger than a gigabyte")
        unpacked += size
        if page_kind == _DICTIONARY_PAGE:
            longest = max(longest, size)
        elif isinstance(page, dict):
            values += max(_number(page, 1), 0)
            # Its values go on from the one before.
            if page.get(2 if 5 in header else 4, _PLAIN) == _DELTA_BYTE_ARRAY:
                longest = max(longest, size)
        place += packed
    return unpacked, longest if kind in _BYTE_ARRAYS else 0, values


def _number(fields: Mapping[int, Any], field: int) -> int:
    value = fields[field]
    if type(value) is not int:
        raise ValueError("a header has something else in the place of a number")
    return value


def _structures(fields: Mapping[int, Any], field: int) -> list[Any]:
    value = fields.get(field, [])
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError("a header has something else in the place of a list")
    return value


def footer_of(content: memoryview) -> Mapping[int, Any]:
    """The footer, by field.

    Raises ``BeyondBoundsError`` for one with more columns and row groups than can be held, ``ValueError`` or
    ``LookupError`` where it is none.
    """
    if len(content) < 12 or bytes(content[-4:]) != b"PAR1":
        raise ValueError("it has no footer")
    length = int.from_bytes(content[-8:-4], "little")
    fields, _ = _Thrift(content, _MOST_IN_FOOTER).structure(len(content) - 8 - length)
    return fields


class _Thrift:
    """Structures in Thrift's compact protocol; at most ``most`` values all together."""

    def __init__(self, data: memoryview, most: int) -> None:
        self._data = data
        self._left = most
        self._place = 0

    def structure(self, place: int) -> tuple[dict[int, Any], int]:
        """The numbers and structures of the one that begins at ``place``, by field, and where it ends."""
        if not 0 <= place < len(self._data):
            raise ValueError("a header lies outside of the file")
        self._place = place
        return self._fields(0), self._place

    def _fields(self, depth: int) -> dict[int, Any]:
        self._count(_STRUCTURE)
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = self._value(head & 15, depth + 1)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        self._count(1)
        if depth > 20:
            raise ValueError("a header is nested too deeply")
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind == 7:
            self._place += 8
        elif kind == 8:
            length = self._unsigned()
            self._place += length
        elif kind in (9, 10):
            head = self._byte()
            size = self._unsigned() if head >> 4 == 15 else head >> 4
            # In a list a truth value is a byte of its own.
            of = 3 if head & 15 in (1, 2) else head & 15
            return [self._value(of, depth + 1) for _ in range(size)]
        elif kind == 12:
            return self._fields(depth)
        else:
            raise ValueError(f"a header has a value of the kind {kind}")
        return None

    def _count(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise BeyondBoundsError("too many columns, row groups or pages")

    def _byte(self) -> int:
        byte = self._data[self._place]
        self._place += 1
        return byte

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a header has a number of too many digits")

    def _integer(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
