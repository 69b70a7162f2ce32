"""Values of JSON that lose nothing: every key once, every number as it is written."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable
from typing import Any

# Of one row: an empty list takes sixty bytes in memory and three in the text.
MOST_PARTS = 250_000
_PART = re.compile(r"[\[{,]")
# Of one value, in characters; and of what an error stands before where a value is cut off, but for strings.
_LONGEST = 64 * 1024 * 1024
_LONGEST_TOKEN = 16


class UnusableJson(ValueError):
    """JSON that cannot be kept as it is written. ``key`` is the field, empty where there is none."""

    def __init__(self, message: str, key: str, hint: str) -> None:
        super().__init__(message)
        self.key = key
        self.hint = hint


def json_value(text: str, most: int = MOST_PARTS) -> Any:
    """The value of ``text``.

    Raises ``json.JSONDecodeError`` where it is not JSON, ``UnusableJson`` for an object that repeats a key and for
    numbers that are not JSON or cannot be kept, and for more than ``most`` parts, ``RecursionError`` where it is nested
    too deeply.
    """
    if has_many_parts(text, most):
        raise too_many_parts(most)
    try:
        value = _DECODER.decode(text)
    except (json.JSONDecodeError, UnusableJson):
        raise
    except ValueError:
        # The interpreter refuses whole numbers of thousands of digits, and does not say which.
        value = _Decoder(slow=True).decode(text)
    return _checked(value)


class JsonElements:
    """The values that stand one after the other in a long text, such as the elements of a list.

    Each is read from a piece of the text that holds at most ``MOST_PARTS``, so that a value of more is refused before
    it is made.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._take(0, 0)

    def value_at(self, start: int) -> tuple[Any, int]:
        """The value that begins at ``start``, and where it ends. Raises as ``json_value``."""
        if self._start <= start < self._start + len(self._piece):
            try:
                return self._read(start)
            except json.JSONDecodeError:
                pass  # it may be the piece that ends
        length = MOST_PARTS
        while True:
            self._take(start, length)
            try:
                return self._read(start)
            except json.JSONDecodeError as error:
                if not self._may_go_on(error) or (length >= _LONGEST and not self._is_full):
                    raise json.JSONDecodeError(error.msg, self._text, start + error.pos) from None
                if self._is_full:
                    raise too_many_parts() from None
            length *= 4

    def _take(self, start: int, length: int) -> None:
        self._start, self._piece = start, self._text[start : start + length]
        self._is_last = start + length >= len(self._text)
        self._is_full = has_many_parts(self._piece)
        if self._is_full:
            last = next(itertools.islice(_PART.finditer(self._piece), MOST_PARTS, None))
            self._piece, self._is_last = self._piece[: last.start()], False

    def _read(self, start: int) -> tuple[Any, int]:
        place = start - self._start
        try:
            value, end = _DECODER.raw_decode(self._piece, place)
        except (json.JSONDecodeError, UnusableJson):
            raise
        except ValueError:
            value, end = _Decoder(slow=True).raw_decode(self._piece, place)
        if end == len(self._piece) and not self._is_last:
            raise json.JSONDecodeError("Unterminated value", self._piece, end)
        return _checked(value), self._start + end

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether the value may be well-formed, and only the piece ends within it."""
        unclosed = error.msg.startswith("Unterminated") or error.pos > len(self._piece) - _LONGEST_TOKEN
        return unclosed and not self._is_last


def has_many_parts(text: str, most: int = MOST_PARTS) -> bool:
    """Whether ``text`` may have more than ``most`` lists, objects and values: those in its strings count too."""
    return len(text) > most and sum(text.count(mark) for mark in "[{,") > most


def too_many_parts(most: int = MOST_PARTS) -> UnusableJson:
    """The error for a text that has."""
    return UnusableJson(f"more than {most:,} lists, objects and values", "", "A row is an object of some texts.")


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
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise UnusableJson("an object has this key twice", name, "Leave one of them.")
            seen.add(name)
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
