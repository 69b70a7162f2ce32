"""Which format a file has: told by the caller, else seen in its suffix and content."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from caa_registry.errors import UsageError
from caa_registry.extensions import Extensions, resolve
from caa_registry.pairs.sources.compression import SUFFIXES
from caa_registry.pairs.sources.files import SourceData
from caa_registry.pairs.sources.json_values import has_many_parts
from caa_registry.pairs.sources.rows import Row

CONVENTIONS = ("caa", "anthropic", "multiple-choice")
"""Formats that are no way to write rows, but conventions for their columns and texts."""

Container = str
"""The name of a format that is a way to write rows."""


@dataclass(frozen=True)
class RowFormat:
    """A way to write rows in a file.

    ``suffixes``: of file names, in lower case with the dot. ``reader``: the module and function that take a
    ``SourceData`` and give its ``Row``s in order; ``InputError`` at the first that is not well-formed.
    """

    suffixes: tuple[str, ...]
    reader: str


FORMATS: Extensions[RowFormat | None] = Extensions(
    "format",
    {
        "caa": None,
        "anthropic": None,
        "multiple-choice": None,
        "jsonl": RowFormat((".jsonl", ".ndjson"), "caa_registry.pairs.sources.json_rows:jsonl_rows"),
        "json": RowFormat((".json",), "caa_registry.pairs.sources.json_rows:json_rows"),
        "csv": RowFormat((".csv", ".tsv", ".tab"), "caa_registry.pairs.sources.csv_rows:csv_rows"),
        "parquet": RowFormat((".parquet",), "caa_registry.pairs.sources.parquet_rows:parquet_rows"),
        "lines": None,
    },
)
"""``None``: a convention for the columns of rows, or two files of lines, which ``load`` reads itself."""


def check_format(name: str | None) -> None:
    """``UsageError`` unless ``name`` is a format or ``None``."""
    if name is not None:
        FORMATS.named(name)


def by_suffix(name: str) -> Container | None:
    """The format that the suffix of a file name stands for, if any; a suffix of compression is passed over."""
    path = PurePath(name)
    suffix = (PurePath(path.stem) if path.suffix.lower() in SUFFIXES else path).suffix.lower()
    return next((format for format, rows in FORMATS.items() if rows and suffix in rows.suffixes), None)


def container_of(file: SourceData, format: str | None) -> Container:
    """How the rows of ``file`` are written.

    A suffix decides between text tables; a JSON list in a ``.jsonl`` file, JSON lines in a ``.json`` file and Parquet
    under any name are seen in the content. Raises ``UsageError`` where neither tells.
    """
    if format is not None and FORMATS.get(format):
        return format
    start = file.content[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    named = by_suffix(file.name)
    if file.content.startswith(b"PAR1"):
        return "parquet"
    if format in CONVENTIONS and named != "csv":
        return "json" if start == b"[" or (format != "anthropic" and not _is_json_lines(file)) else "jsonl"
    if named == "jsonl":
        return "json" if start == b"[" else "jsonl"
    if named == "json":
        return "jsonl" if start == b"{" and _is_json_lines(file) else "json"
    if named is not None:
        return named
    if start == b"[":
        return "json"
    if start == b"{":
        return "jsonl"
    raise UsageError(
        f"{file.label}: neither its name nor its content tells its format",
        f"Give --format, one of {', '.join(FORMATS)}.",
    )


def _is_json_lines(file: SourceData) -> bool:
    """Whether the first line is an object of its own and more follows it."""
    line, _, rest = file.content.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    try:
        first = line.decode("utf-8")
        # A line with too many parts is refused when the rows are read.
        return bool(rest.strip()) and (has_many_parts(first) or isinstance(json.loads(first), dict))
    except (ValueError, RecursionError):
        return False


def rows_of(file: SourceData, container: Container) -> Iterator[Row]:
    """The rows of ``file``; ``InputError`` at the first that is not well-formed."""
    rows = FORMATS[container]
    assert rows is not None, f"{container} is no way to write rows"
    reader: Callable[[SourceData], Iterator[Row]] = resolve(rows.reader)
    return reader(file)
