"""A row of a source: a number that a person finds again, and named values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caa_registry.errors import InputError, shortened
from caa_registry.pairs.sources.files import MAX_ROWS, SourceData
from caa_registry.pairs.turns import Turn


@dataclass(frozen=True)
class Conversation:
    """What a row's messages say before the answers: ``turns`` and then ``prompt``, under ``system``."""

    system: str
    turns: tuple[Turn, ...]
    prompt: str


@dataclass(frozen=True)
class Row:
    """``number`` is 1-based: the element of a list, the line of JSONL, the data row of a table. ``conversation``: where
    the row is one of messages, or is a pair already."""

    number: int
    values: Mapping[str, Any]
    conversation: Conversation | None = None


def repeated_names(names: Sequence[str]) -> list[str]:
    """Those of ``names`` that come more than once, sorted."""
    return sorted(name for name, times in Counter(names).items() if times > 1)


def listed(names: Iterable[str], limit: int = 20) -> str:
    """Names for a message, the first ``limit`` of them; one with spaces or commas in quotes, so that they are seen."""
    every = list(names)
    shown = ", ".join(_shown(name) for name in every[:limit])
    return f"{shown} and {len(every) - limit} more" if len(every) > limit else shown


def _shown(name: str) -> str:
    quoted = repr(shortened(name, 100))
    return quoted if not name or "," in name or any(char.isspace() for char in name) else quoted[1:-1]


def no_rows(file: SourceData) -> InputError:
    """The error for a file that holds no rows."""
    return InputError("it holds no rows", "There is nothing to import.", source=file.label)


def counted(rows: Iterable[Row], file: SourceData) -> Iterator[Row]:
    """``rows`` unchanged; a bad row, or one too many, raises an error that says how many were read before it."""
    before = 0
    iterator = iter(rows)
    while True:
        try:
            row = next(iterator, None)
            if row is None:
                return
            if before >= MAX_ROWS:
                raise InputError(f"more than {MAX_ROWS} rows", "Split the file.", source=file.label)
        except InputError as error:
            raise say_rows_before(error, before) from error.__cause__
        yield row
        before += 1


def say_rows_before(error: InputError, before: int) -> InputError:
    """``error`` whose message also says how many rows were read before it."""
    rows = "row" if before == 1 else "rows"
    error.message = f"{error.message} ({before} {rows} read before it; nothing was imported)"
    error.args = (error.message,)
    return error
