"""The bytes of one file of a source: read whole, once, so that digest and rows speak of the same bytes."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from caa_registry.digests import digest_bytes
from caa_registry.errors import InputError, NotFoundError, UsageError, one_line, without_secrets
from caa_registry.pairs.sources.compression import unpacked
from caa_registry.pairs.sources.other_kinds import check_kind, encoding_hint

MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_ROWS = 1_000_000
MAX_COLUMNS = 5000


@dataclass(frozen=True)
class SourceData:
    """One file's bytes. ``label`` names it in errors, ``name`` in the record of where the pairs came from."""

    name: str
    label: str
    data: bytes

    @cached_property
    def digest(self) -> str:
        """The identity of the file as it lies, compressed or not."""
        return digest_bytes(self.data)

    @cached_property
    def content(self) -> bytes:
        """The bytes of the rows: unpacked where the file is compressed with gzip or Zstandard.

        Raises ``InputError`` for what cannot be unpacked, is empty or larger than ``MAX_FILE_BYTES`` then, and for a
        file of a kind that holds no rows, such as an archive or a page.
        """
        content = unpacked(self.data, self.label, MAX_FILE_BYTES)
        if not content.strip():
            raise _empty(self.label)
        check_kind(content, self.label)
        return content


def readable(text: str) -> str:
    """``text`` as Unicode that can be stored: what a file name could not decode is escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_file(path: Path, *, label: str = "", name: str = "") -> SourceData:
    """The regular file at ``path``.

    Raises ``NotFoundError`` where nothing is, ``UsageError`` for a folder or a device, ``InputError`` for a file
    that cannot be read, is empty or larger than ``MAX_FILE_BYTES``.
    """
    label = label or one_line(readable(str(path)), 400)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            inside = sorted(one_line(readable(entry.name), 100) for entry in path.iterdir() if entry.is_file())[:5]
            held = f"It holds {', '.join(inside)}." if inside else "It holds no files."
            raise UsageError(
                f"{label} is a folder, and not one that save_to_disk of datasets wrote",
                f"Name one file, or one for each split: --split generate=FILE --split test=FILE. {held}",
            )
        if not stat.S_ISREG(mode):
            raise UsageError(f"{label} is not a regular file", "Save its content to a file and import that.")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"there is no file {without_secrets(label)}",
            "A source is a path, hf:ORG/NAME[@REVISION][/FILE], seed:NAME or lines:POSITIVE_FILE,NEGATIVE_FILE.",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"cannot be read ({reason})", "Check its name and permissions.", source=label) from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"larger than {MAX_FILE_BYTES // 2**20} MiB", "Split it into several files.", source=label)
    if not data.strip():
        raise _empty(label)
    return SourceData(name or readable(path.name), label, data)


def _empty(label: str) -> InputError:
    return InputError("the file is empty", "There is nothing to import.", source=label)


def decoded(file: SourceData) -> str:
    """The file as text: UTF-8, with or without a byte order mark. ``InputError`` says where it is not."""
    content = file.content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # With a byte order mark, the codec counts from behind it.
        offset = error.start + (len(content) - len(error.object))
        line = content.count(b"\n", 0, offset) + 1
        raise InputError(
            f"not UTF-8: byte 0x{content[offset]:02x} at offset {offset}, line {line}",
            encoding_hint(content),
            source=file.label,
        ) from None
