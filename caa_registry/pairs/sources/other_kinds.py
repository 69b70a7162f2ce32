"""Files that are no rows at all: what they are, told by their first bytes, and what to do with them."""

from __future__ import annotations

import re

from caa_registry.errors import InputError

_ROWS = "JSON, JSON lines, CSV or Parquet"
_UNPACK = "Unpack it and import a file that it holds; .gz and .zst files are read as they are."
_ROWS_ONLY = f"Rows of text are read from {_ROWS}."
_TABLE = f"Write its table as {_ROWS}, for instance with pandas."
_ARROW = "Write the table as Parquet, or import the folder that save_to_disk of datasets wrote."

# What a file begins with, what it is then, and what to do.
_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"SQLite format 3\x00", "a SQLite database", f"Write the rows of its table as {_ROWS}."),
    (b"%PDF-", "a PDF document", f"Write its rows as {_ROWS}."),
    (b"{\\rtf", "an RTF document", f"Save it as {_ROWS}."),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document (such as .xls)", "Save the sheet as CSV UTF-8."),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\x04\x22\x4d\x18", "an LZ4 archive", _UNPACK),
    (b"\x1f\x8b", "a gzip file in a compressed file", "Unpack it once."),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file in a compressed file", "Unpack it once."),
    (b"\x93NUMPY", "a NumPy array", _ROWS_ONLY),
    (b"\x89HDF\r\n", "an HDF5 file", _TABLE),
    (b"ARROW1", "an Arrow file", _ARROW),
    (b"\xff\xff\xff\xff", "an Arrow stream", _ARROW),
    (b"FEA1", "a Feather file", _ARROW),
    (b"ORC", "an ORC table", _TABLE),
    (b"Obj\x01", "an Avro file", _TABLE),
    (b"GGUF", "a GGUF file of a model or vector", "Pairs are rows of text."),
    (b"\x89PNG", "a picture", _ROWS_ONLY),
    (b"\xff\xd8\xff", "a picture", _ROWS_ONLY),
    (b"GIF8", "a picture", _ROWS_ONLY),
    (b"\x7fELF", "a program", _ROWS_ONLY),
)
_OFFICE = {b"xl/": "an Excel workbook", b"word/": "a Word document", b"ppt/": "a PowerPoint presentation"}
# Comments are passed over once and for all: tried in other ways again, many would take for ever.
_PAGE = re.compile(rb"\s*+(?>(?><!--.*?-->)\s*+)*+<(?:!doctype html|html|head|body|title)\b", re.IGNORECASE | re.DOTALL)
_XML = re.compile(rb"\s*<\?xml\b", re.IGNORECASE)
_POINTER = b"version https://git-lfs.github.com/spec/"
_BYTE_ORDER_MARKS = ((b"\xff\xfe\x00\x00", "UTF-32"), (b"\x00\x00\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"),
                     (b"\xfe\xff", "UTF-16"))  # fmt: skip
_PICKLE = re.compile(rb"\x80[\x02-\x05]")


def check_kind(content: bytes, label: str) -> None:
    """Raise ``InputError`` that says what a file is where it is of a kind that holds no rows of text."""
    head = content[:4096].removeprefix(b"\xef\xbb\xbf")
    what, hint = _kind(content, head)
    if what:
        raise InputError(f"it is {what}", hint, source=label)


def _kind(content: bytes, head: bytes) -> tuple[str, str]:
    if head.startswith(b"PAR1"):
        return "", ""
    encoding = _wide_encoding(head)
    if encoding:
        return f"text in {encoding}", _to_utf8(encoding)
    for start, what, hint in _STARTS:
        if head.startswith(start):
            return what, hint
    if head.startswith(b"PK\x03\x04"):
        return _zip(content)
    if _PICKLE.match(head) and content.rstrip(b"\n").endswith(b"."):
        return "a Python pickle", f"A pickle runs code when it is read: write the rows as {_ROWS}."
    if head[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    if _PAGE.match(head):
        return (
            "a web page, not the data",
            "A site's page was saved in place of the file, such as a login page: use the address that the download "
            "button has, or hf:ORG/NAME/FILE.",
        )
    if _XML.match(head):
        return "an XML document", f"Write its rows as {_ROWS}."
    if head.startswith(_POINTER):
        return "a Git LFS pointer, which stands for the data", "Get the data itself: run git lfs pull in the checkout."
    return "", ""


def _zip(content: bytes) -> tuple[str, str]:
    for folder, what in _OFFICE.items():
        if b"[Content_Types].xml" in content and folder in content:
            return what, "Save the sheet as CSV UTF-8." if folder == b"xl/" else f"Write its rows as {_ROWS}."
    if b"opendocument" in content[:200]:
        return "an OpenDocument file", "Save the sheet as CSV in UTF-8."
    return "a ZIP archive", _UNPACK


def _wide_encoding(head: bytes) -> str:
    """UTF-16 or UTF-32 where ``head`` is text in it, with or without a byte order mark."""
    for mark, name in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return name
    sample = head[:256]
    zeros = [sample[i::2].count(0) / max(1, len(sample[i::2])) for i in (0, 1)]
    if len(sample) < 8 or not sample.count(0):
        return ""
    if zeros[1] > 0.7 and zeros[0] < 0.1:
        return "UTF-16LE"
    return "UTF-16BE" if zeros[0] > 0.7 and zeros[1] < 0.1 else ""


def _to_utf8(encoding: str) -> str:
    return f"Save it as UTF-8, for instance: iconv -f {encoding} -t UTF-8 FILE > NEW."


def encoding_hint(content: bytes) -> str:
    """What to do about ``content``, which is not UTF-8."""
    sample = content[: 1 << 20]
    controls = sum(sample.count(bytes([byte])) for byte in (*range(9), *range(14, 32)))
    if controls * 50 > len(sample):
        return f"It is no text: pairs are read from {_ROWS}."
    return (
        "It may be Latin-1 or Windows-1252. Save it as UTF-8, for instance: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW."
    )
