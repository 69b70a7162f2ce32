"""Zip archives with limits: what NumPy and torch files are in. Nothing is unpacked beyond what the archive may hold."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from caa_registry.formats.vector_file import VectorFile

MAGIC = b"PK\x03\x04"
_LARGEST_LISTING = 1 << 22  # some 50,000 entries
_MOST_ENTRIES = 20_000
_MOST_UNPACKED = 1 << 27
_ENCRYPTED, _UTF8 = 0x61, 0x800
_DAMAGED = "The file is damaged; fetch it again."
# What Python's reader raises for archives that are broken in one way or another.
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, OverflowError, OSError, KeyError, IndexError),
)


class _Bounded(io.BytesIO):
    """An archive says itself how long its list of entries is: one that is too long is not read."""

    listing = True

    def read(self, size: int | None = -1, /) -> bytes:
        if self.listing and size is not None and size > _LARGEST_LISTING:
            raise zipfile.BadZipFile("its list of entries is too long")
        return super().read(size)


@dataclass(frozen=True, eq=False)
class Archive:
    """The entries of a zip archive by name, and its open reader."""

    file: VectorFile
    entries: Mapping[str, zipfile.ZipInfo]
    reader: zipfile.ZipFile

    def read(self, name: str, *, packed: bool = False) -> bytes:
        """The bytes of an entry, whose checksum fits. ``packed``: it may be compressed. Raises ``InputError``."""
        entry = self.entries[name]
        if entry.compress_type != zipfile.ZIP_STORED and not (packed and entry.compress_type == zipfile.ZIP_DEFLATED):
            raise self.file.error("it is compressed, which these files are not", _DAMAGED, field=name)
        most = _MOST_UNPACKED if packed else len(self.file.data)
        if entry.file_size > most:
            raise self.file.error(f"it is said to have {entry.file_size:,} bytes, more than {most:,}", field=name)
        try:
            with self.reader.open(entry) as opened:
                data = opened.read()
        except _BROKEN as error:
            raise self.file.error(f"it cannot be read: {error}", _DAMAGED, field=name) from error
        if len(data) != entry.file_size:
            raise self.file.error(
                f"it is said to have {entry.file_size:,} bytes and has {len(data):,}", _DAMAGED, field=name
            )
        return data


def opened(file: VectorFile) -> Archive:
    """The archive that ``file`` is. Raises ``InputError`` for another file, a broken or endless list of entries, and a
    name that stands there twice."""
    try:
        data = _Bounded(file.data)
        reader = zipfile.ZipFile(data)
        data.listing = False
        listed = reader.infolist()
    except _BROKEN as error:
        raise file.error(f"the zip archive cannot be read: {error}", _DAMAGED) from error
    _check_end(file, len(listed))
    if len(listed) > _MOST_ENTRIES:
        raise file.error(f"the zip archive has {len(listed):,} entries, more than {_MOST_ENTRIES:,}")
    if all(entry.header_offset for entry in listed) and listed:
        # Python reads past what stands in front; other readers see another archive, or none.
        raise file.error("bytes stand before the first entry of the zip archive", _DAMAGED)
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in listed:
        if entry.filename in entries:
            raise file.error("the zip archive has this entry twice", _DAMAGED, field=entry.filename)
        if not entry.filename.isascii() and not entry.flag_bits & _UTF8:
            raise file.error("an entry's name is neither ASCII nor marked as UTF-8", _DAMAGED, field=entry.filename)
        if entry.flag_bits & _ENCRYPTED:
            raise file.error("it is encrypted", "Save it without a password.", field=entry.filename)
        stored = entry.compress_type == zipfile.ZIP_STORED
        inside = entry.header_offset + entry.compress_size < len(file.data)
        if entry.volume or not inside or (stored and entry.compress_size != entry.file_size):
            raise file.error("the entry's sizes, its place or its disk are none", _DAMAGED, field=entry.filename)
        entries[entry.filename] = entry
    unpacked = sum(entry.file_size for entry in listed if entry.compress_type != zipfile.ZIP_STORED)
    if unpacked > _MOST_UNPACKED:
        raise file.error(f"unpacked it has {unpacked:,} bytes, more than {_MOST_UNPACKED:,}")
    return Archive(file, entries, reader)


def _check_end(file: VectorFile, count: int) -> None:
    """Raise ``InputError`` unless the archive ends as NumPy and torch end it: one disk, no comment. Python is lenient
    there, and other readers would see another archive."""
    signature, disk, first_disk, here, in_all, _, _, comment = struct.unpack("<4s4H2LH", file.data[-22:])
    if signature != b"PK\x05\x06" or disk or first_disk or here != count or in_all != count or comment:
        raise file.error("the zip archive does not end with a record of its entries", _DAMAGED)


def packed(entries: Mapping[str, bytes]) -> bytes:
    """An archive of ``entries``, stored as they are: the same bytes for the same entries, at any time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()
