"""CSV sheets that people fill in with a spreadsheet program."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from caa_registry.disk import new
from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.sources.files import SourceData, decoded, readable

# What spreadsheet programs take for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_sheet(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]], holds: str, *, force: bool = False
) -> None:
    """Write a new sheet. A cell that would be taken for a formula gets an apostrophe before it.

    Raises ``UsageError`` where ``path`` exists, since it may hold what somebody filled in (``holds``), unless ``force``
    is set; ``WriteError`` where it cannot be written.
    """
    if os.path.lexists(path) and not force:
        raise UsageError(
            f"{readable(str(path))} exists", f"It may hold {holds}: choose another name, or give --force to replace it."
        )
    # With a byte order mark, without which Excel does not take it for UTF-8.
    with (
        new(path, force=force) as part,
        part.open("x", encoding="utf-8-sig", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_harmless(cell) for cell in row] for row in rows)


def check_commas(file: SourceData) -> None:
    """Raise ``InputError`` for a sheet that was saved with other separators."""
    header = decoded(file).lstrip().split("\n", 1)[0]
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if separator in header and "," not in header:
            raise InputError(f"its columns are separated by {name}", "Save it with commas.", source=file.label)


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
