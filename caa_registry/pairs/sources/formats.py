"""Which format a file has: told by the caller, else seen in its suffix and content."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Literal, cast

from caa_registry.errors import UsageError
from caa_registry.pairs.sources.csv_rows import csv_rows
from caa_registry.pairs.sources.files import SourceData
from caa_registry.pairs.sources.json_rows import json_rows, jsonl_rows
from caa_registry.pairs.sources.parquet_rows import parquet_rows
from caa_registry.pairs.sources.rows import Row

Container = Literal["json", "jsonl", "csv", "parquet"]

FORMATS = ("caa", "anthropic", "multiple-choice", "jsonl", "json", "csv", "parquet", "lines")
DATA_SUFFIXES: Mapping[str, Container] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}

_READERS: Mapping[Container, Callable[[SourceData], Iterator[Row]]] = {
    "json": json_rows,
    "jsonl": jsonl_rows,
    "csv": csv_rows,
    "parquet": parquet_rows,
}


def check_format(name: str | None) -> None:
    """``UsageError`` unless ``name`` is a format or ``None``."""
    if name is not None and name not in FORMATS:
        raise UsageError(f"there is no format {name!r}", f"Formats: {', '.join(FORMATS)}.")


def container_of(file: SourceData, format: str | None) -> Container:
    """How the rows of ``file`` are written.

    A suffix decides between text tables; a JSON list in a ``.jsonl`` file, JSON lines in a ``.json`` file and Parquet
    under any name are seen in the content. Raises ``UsageError`` where neither tells.
    """
    if format in _READERS:
        return cast(Container, format)
    start = file.data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if format in ("caa", "anthropic", "multiple-choice"):
        return "json" if start == b"[" or (format != "anthropic" and not _is_json_lines(file)) else "jsonl"
    if file.data.startswith(b"PAR1"):
        return "parquet"
    by_suffix = DATA_SUFFIXES.get(PurePath(file.name).suffix.lower())
    if by_suffix == "jsonl":
        return "json" if start == b"[" else "jsonl"
    if by_suffix == "json":
        return "jsonl" if start == b"{" and _is_json_lines(file) else "json"
    if by_suffix is not None:
        return by_suffix
    if start == b"[":
        return "json"
    if start == b"{":
        return "jsonl"
    raise UsageError(
        f"{file.label}: its format is not told by its name or its content",
        f"Give --format, one of {', '.join(FORMATS)}.",
    )


def _is_json_lines(file: SourceData) -> bool:
    """Whether the first line is an object of its own and more follows it."""
    first, _, rest = file.data.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    try:
        return bool(rest.strip()) and isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def rows_of(file: SourceData, container: Container) -> Iterator[Row]:
    """The rows of ``file``; ``InputError`` at the first that is not well-formed."""
    return _READERS[container](file)
