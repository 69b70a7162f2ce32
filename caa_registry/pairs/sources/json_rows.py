"""JSON lists of objects, and JSON lines."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any

from caa_registry.errors import InputError
from caa_registry.pairs.sources.files import SourceData, decoded
from caa_registry.pairs.sources.json_values import JsonElements, UnusableJson, json_value
from caa_registry.pairs.sources.rows import Row, listed, no_rows

_SPACE = re.compile(r"[ \t\n\r]*")
_ROW = '{"prompt": ..., "positive": ..., "negative": ...}'


def parse_json(text: str, *, source: str, row: int | None = None) -> Any:
    """The value of ``text``.

    ``InputError`` with line and column where it is not JSON, and with the field where an object repeats a key or holds
    a number that cannot be kept; also where it is nested too deeply.
    """
    try:
        return json_value(text)
    except (ValueError, RecursionError) as error:
        raise _bad(error, source, row, lines=row is None) from None


def _bad(error: Exception, source: str, row: int | None, *, lines: bool) -> InputError:
    if isinstance(error, JSONDecodeError):
        place = f"line {error.lineno}, column {error.colno}" if lines else f"column {error.colno}"
        return InputError(
            f"not JSON at {place}: {error.msg}", "Correct the file there.", source=source, row=None if lines else row
        )
    if isinstance(error, UnusableJson):
        return InputError(f"not usable JSON: {error}", error.hint, source=source, row=row, field=error.key)
    return InputError("JSON nested too deeply", "Rows are flat objects.", source=source, row=row)


def _object(value: Any, file: SourceData, number: int) -> Row:
    if not isinstance(value, dict):
        raise InputError(
            f"a row is not an object but {_kind(value)}",
            f"Each row is an object such as {_ROW}.",
            source=file.label,
            row=number,
        )
    return Row(number, value)


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null" if value is None else "an object")


def json_rows(file: SourceData) -> Iterator[Row]:
    """The elements of a JSON list; row n is the n-th of them."""
    text = decoded(file)
    start = _after_space(text, 0)
    if text[start : start + 1] != "[":
        raise _no_list(parse_json(text, source=file.label), file)
    number = 0
    elements = JsonElements(text)
    place = _after_space(text, start + 1)
    if text[place : place + 1] != "]":
        while True:
            number += 1
            try:
                value, place = elements.value_at(place)
            except (ValueError, RecursionError) as error:
                raise _bad(error, file.label, number, lines=isinstance(error, JSONDecodeError)) from None
            yield _object(value, file, number)
            place = _after_space(text, place)
            if text[place : place + 1] != ",":
                break
            place = _after_space(text, place + 1)
    if text[place : place + 1] != "]":
        raise _bad(JSONDecodeError("Expecting ',' delimiter", text, place), file.label, None, lines=True)
    place = _after_space(text, place + 1)
    if place < len(text):
        raise _bad(JSONDecodeError("Extra data", text, place), file.label, None, lines=True)
    if not number:
        raise no_rows(file)


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _no_list(value: Any, file: SourceData) -> InputError:
    """The error for JSON that is not a list, saying where its rows may be."""
    message, hint = f"the JSON is {_kind(value)}, not a list of objects", "Write a list of objects."
    if isinstance(value, dict):
        lists = {name: inside for name, inside in value.items() if isinstance(inside, list) and inside}
        tables = [name for name, inside in lists.items() if all(isinstance(row, dict) for row in inside)]
        if tables:
            name = max(tables, key=lambda table: len(lists[table]))
            message += f": its rows are under the key {name!r}"
            hint = f"Save that list alone, for instance: jq '.[\"{name}\"]' FILE > NEW.json."
        elif len(lists) > 1 and len({len(inside) for inside in lists.values()}) == 1:
            message += f": it holds its columns one by one ({listed(lists)})"
            hint = f"Write a list with one object a row, such as {_ROW} (pandas: orient='records')."
        elif len(value) > 1 and all(isinstance(inside, dict) for inside in value.values()):
            message += f": its rows or columns are under keys of their own ({listed(value, 3)})"
            hint = "Write the rows as a list (pandas: orient='records')."
        elif any(isinstance(inside, str) for inside in value.values()):
            message += ": it is one row"
            hint = f"Write a list of rows, [{_ROW}], or use --format jsonl for one object a line."
    return InputError(message, hint, source=file.label)


def jsonl_rows(file: SourceData) -> Iterator[Row]:
    """One object a line; row n is line n. Empty lines are passed over. Only one line at a time is held as text."""
    any_row = False
    for number, line in enumerate(_lines(file), 1):
        if line.strip():
            any_row = True
            try:
                value = parse_json(line, source=file.label, row=number)
            except InputError as error:
                if line.rstrip().endswith(("{", "[", "{,")) or line.strip() in ("}", "},", "]"):
                    error.hint = (
                        "In JSON lines every line is a whole object, and this one goes on in others. "
                        "Write one object a line, or a list of objects and --format json."
                    )
                raise
            yield _object(value, file, number)
    if not any_row:
        raise no_rows(file)


def _lines(file: SourceData) -> Iterator[str]:
    content = file.content
    start = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    while start <= len(content):
        # Only a line feed ends a line: str.splitlines would also split at U+2028 and others inside of strings.
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        try:
            yield content[start:end].decode("utf-8")
        except UnicodeDecodeError:
            decoded(file)  # says where in the file
            raise
        start = end + 1
