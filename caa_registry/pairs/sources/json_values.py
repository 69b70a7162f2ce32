"""Values of JSON that lose nothing: every key once, every number as it is written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any


class UnusableJson(ValueError):
    """JSON that cannot be kept as it is written. ``key`` is the field, empty where there is none."""

    def __init__(self, message: str, key: str, hint: str) -> None:
        super().__init__(message)
        self.key = key
        self.hint = hint


def json_value(text: str) -> Any:
    """The value of ``text``.

    Raises ``json.JSONDecodeError`` where it is not JSON, ``UnusableJson`` for an object that repeats a key and for
    numbers that are not JSON or cannot be kept, ``RecursionError`` where it is nested too deeply.
    """
    try:
        value = _DECODER.decode(text)
    except (json.JSONDecodeError, UnusableJson):
        raise
    except ValueError:
        # The interpreter refuses whole numbers of thousands of digits, and does not say which.
        value = _Decoder(slow=True).decode(text)
    return _checked(value)


def json_value_at(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at ``start`` of ``text``, and where it ends. Raises as ``json_value``."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (json.JSONDecodeError, UnusableJson):
        raise
    except ValueError:
        value, end = _Decoder(slow=True).raw_decode(text, start)
    return _checked(value), end


class _Number:
    """A number that cannot be kept, until the object that holds it is read and its key is known."""

    def __init__(self, message: str) -> None:
        self.message = message


class _Decoder(json.JSONDecoder):
    """``slow``: whole numbers pass through Python, to find the one with too many digits."""

    def __init__(self, *, slow: bool = False) -> None:
        super().__init__(
            object_pairs_hook=_object,
            parse_float=_fraction,
            parse_constant=_constant,
            parse_int=_whole if slow else None,
        )


def _constant(text: str) -> _Number:
    return _Number(f"{text} is not JSON")


def _fraction(text: str) -> float | _Number:
    value = float(text)
    if math.isinf(value):
        return _Number(f"{_short(text)} is too large a number")
    if not value and any(digit in "123456789" for digit in text.lower().partition("e")[0]):
        return _Number(f"{_short(text)} is too small a number")
    return value


def _whole(text: str) -> int | _Number:
    try:
        return int(text)
    except ValueError:
        return _Number("a number has too many digits")


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:30]}..."


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise UnusableJson("an object has this key twice", repeated, "Leave one of them.")
    for name, value in pairs:
        if type(value) is _Number or type(value) is list:
            _check(value, name)
    return values


def _check(value: Any, key: str) -> None:
    """Raise ``UnusableJson`` for a number in ``value``, a number or list, that cannot be kept."""
    parts: Iterable[Any] = value if type(value) is list else (value,)
    for part in parts:
        if type(part) is _Number:
            raise UnusableJson(part.message, key, "Write null or a number that can be kept, or put it in quotes.")
        if type(part) is list:
            _check(part, key)


def _checked(value: Any) -> Any:
    _check(value, "")
    return value


_DECODER = _Decoder()
