"""JSON lists of objects, and JSON lines."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, NoReturn

from caa_registry.errors import InputError
from caa_registry.pairs.sources.files import SourceData, decoded
from caa_registry.pairs.sources.rows import Row, no_rows


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_json(text: str, *, source: str, row: int | None = None) -> Any:
    """The value of ``text``; ``InputError`` with line and column where it is not JSON or nested too deeply."""
    try:
        return json.loads(text, parse_constant=_not_json)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if row is not None else f"line {error.lineno}, column {error.colno}"
        raise InputError(
            f"not JSON at {place}: {error.msg}", "Correct the file there.", source=source, row=row
        ) from None
    except ValueError as error:
        reason = "a number has too many digits" if "integer string" in str(error) else str(error)
        raise InputError(f"not usable JSON: {reason}", "Correct the file.", source=source, row=row) from None
    except RecursionError:
        raise InputError("JSON nested too deeply", "Rows are flat objects.", source=source, row=row) from None


def _object(value: Any, file: SourceData, number: int) -> Row:
    if not isinstance(value, dict):
        raise InputError(
            f"a row is not an object but {_kind(value)}",
            'Each row is an object such as {"prompt": ..., "positive": ..., "negative": ...}.',
            source=file.label,
            row=number,
        )
    return Row(number, value)


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null" if value is None else "an object")


def json_rows(file: SourceData) -> Iterator[Row]:
    """The elements of a JSON list; row n is the n-th of them."""
    value = parse_json(decoded(file), source=file.label)
    if not isinstance(value, list):
        raise InputError(
            f"the JSON is {_kind(value)}, not a list of objects",
            "Write a list of objects, or one object a line and --format jsonl.",
            source=file.label,
        )
    if not value:
        raise no_rows(file)
    for number, element in enumerate(value, 1):
        yield _object(element, file, number)


def jsonl_rows(file: SourceData) -> Iterator[Row]:
    """One object a line; row n is line n. Empty lines are passed over. Only one line at a time is held as text."""
    any_row = False
    for number, line in enumerate(_lines(file), 1):
        if line.strip():
            any_row = True
            yield _object(parse_json(line, source=file.label, row=number), file, number)
    if not any_row:
        raise no_rows(file)


def _lines(file: SourceData) -> Iterator[str]:
    start = len(codecs.BOM_UTF8) if file.data.startswith(codecs.BOM_UTF8) else 0
    while start <= len(file.data):
        # Only a line feed ends a line: str.splitlines would also split at U+2028 and others inside of strings.
        end = file.data.find(b"\n", start)
        end = len(file.data) if end < 0 else end
        try:
            yield file.data[start:end].decode("utf-8")
        except UnicodeDecodeError:
            decoded(file)  # says where in the file
            raise
        start = end + 1
