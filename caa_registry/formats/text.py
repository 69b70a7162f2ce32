"""JSON texts with limits: in vector files, and in what describes them."""

from __future__ import annotations

import json
from typing import Any

from caa_registry.errors import one_line
from caa_registry.formats.vector_file import VectorFile

_LARGEST = 1 << 26
# A list takes 56 bytes in memory and two in the text, a number 32 and two.
_MOST_CONTAINERS = 100_000
_MOST_VALUES = 4_000_000
_AGAIN = "Fetch the file again, or correct it."


class _Unusable(ValueError):
    pass


def value_of(file: VectorFile, data: bytes | str, field: str = "") -> Any:
    """The JSON value of ``data``. Raises ``InputError`` for what is no JSON in UTF-8, repeats a key, holds NaN or
    infinity, is nested too deep, or is larger than a vector needs."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise file.error(f"it is not UTF-8 (byte {error.start:,})", _AGAIN, field=field) from error
    if len(text) > _LARGEST or text.count("[") + text.count("{") > _MOST_CONTAINERS or text.count(",") > _MOST_VALUES:
        raise file.error("it has more lists or numbers than a vector file", _AGAIN, field=field)
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise file.error("it is nested too deep", _AGAIN, field=field) from None
    except _Unusable as error:
        raise file.error(str(error), _AGAIN, field=field) from None
    except ValueError as error:
        raise file.error(f"it is not JSON: {one_line(str(error), 200)}", _AGAIN, field=field) from error


def object_of(file: VectorFile, data: bytes | str, field: str = "") -> dict[str, Any]:
    """The JSON object of ``data``. Raises ``InputError`` as ``value_of``, and for another value."""
    value = value_of(file, data, field)
    if not isinstance(value, dict):
        raise file.error("it is no JSON object", _AGAIN, field=field)
    return value


def json_file(file: VectorFile) -> dict[str, Any]:
    """The object that a JSON file is. Raises ``InputError``."""
    return object_of(file, file.data)


def looks_like_json(file: VectorFile) -> bool:
    return file.data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise _Unusable(f"an object has the key {one_line(twice, 80)!r} twice")
    return values


def _constant(text: str) -> float:
    raise _Unusable(f"{text} is no number of a vector")
