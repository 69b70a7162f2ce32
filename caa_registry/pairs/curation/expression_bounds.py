"""What an expression may consist of, and how much its evaluation may make and take: it may be a stranger's.

Before anything runs, the parsed expression is held against a list of what is available (``check``). While it runs,
each row may make ``MOST_MADE`` characters (and eight times its own texts, as ``lower`` copies them) and ``MOST_ITEMS``
items of lists, and whole numbers have at most ``MOST_BITS``. All rows of a pass together take ``PASS_SECONDS`` of
processor time beyond what a sensible expression of as many parts takes on texts of that length (``Bounds``).
"""

from __future__ import annotations

import ast
import operator
import re
import time
from collections.abc import Callable, Sized
from typing import Any

import regex

MOST_NODES = 1000
MOST_DEPTH = 60
MOST_MADE = 1_000_000
MOST_ITEMS = 100_000
MOST_BITS = 4096
PASS_SECONDS = 3.0
# Of one regular expression on one text; what it remembers grows with the time, by 600 MB a second.
SECONDS = 0.25
# What a row may take beside: by itself, for each part of the expression, and for each character of its texts.
_ROW_SECONDS, _PART_SECONDS, _CHARACTER_SECONDS = 20e-6, 5e-6, 50e-9
_COPIES = 8
_MOST_REPEATS = 100_000
_MOST_PATTERN = 2000
# Characters of a pattern, with its parts as often as they are repeated.
_MOST_REPEATED = 1_000_000
# How many steps pass between two looks at the clock. A long text is a step more for so many characters.
_STEPS = 200
_STEP_CHARACTERS = 10_000

_NODES: tuple[type[ast.AST], ...] = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Call, ast.keyword, ast.IfExp),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.Invert, ast.Compare, ast.cmpop),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
    *(ast.BitAnd, ast.BitOr, ast.BitXor, ast.Subscript, ast.Slice, ast.List, ast.Tuple, ast.Set, ast.Dict),
    *(ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.comprehension, ast.JoinedStr, ast.FormattedValue),
)
# A width of three digits or more in a format, or one that is given from outside.
_WIDE = re.compile(r"\d{3}|[{}]")
_WIDE_PERCENT = re.compile(r"%[^a-zA-Z%]*(?:\d{3}|\*)|%\(")
_REPEAT = re.compile(r"\{(\d*)(?:,(\d*))?\}")
_WORD = re.compile(r"\S+")
_CALLS_ITSELF = re.compile(r"\(\?(?:R|[+-]?\d+|&|P>)")


class BeyondBoundsError(ValueError):
    """An expression is larger than it may be, or makes or takes more."""


def check(tree: ast.Expression) -> int:
    """How many parts the expression has. Raises ``BeyondBoundsError`` where it uses what is not available, or is too
    deep or too large."""
    nodes: list[tuple[ast.AST, int]] = [(tree, 0)]
    count = 0
    while nodes:
        node, depth = nodes.pop()
        count += 1
        if not isinstance(node, _NODES):
            raise BeyondBoundsError(f"{type(node).__name__} is not available here")
        if depth > MOST_DEPTH or count > MOST_NODES:
            raise BeyondBoundsError(f"it has more than {MOST_DEPTH} levels or {MOST_NODES} parts")
        if isinstance(node, ast.comprehension) and node.is_async:
            raise BeyondBoundsError("async is not available here")
        if isinstance(node, ast.Constant):
            bounded(node.value)
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            parts = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else [node.format_spec]
            if not all(isinstance(part, ast.Constant) and not _WIDE.search(str(part.value)) for part in parts):
                raise BeyondBoundsError("a format may ask for 99 characters at most")
        nodes.extend((child, depth + 1) for child in ast.iter_child_nodes(node))
    return count


def bounded(value: Any) -> Any:
    """``value``, unless it is a whole number of more than ``MOST_BITS``."""
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise BeyondBoundsError(f"a number has more than {MOST_BITS} bits")
    return value


class Bounds:
    """What the evaluation of one expression has made of the present row and taken of all so far. For one thread."""

    def __init__(self, parts: int) -> None:
        self._row_seconds = _ROW_SECONDS + _PART_SECONDS * parts
        self._steps = self._items = self._made = self._most_made = 0
        self._allowed = PASS_SECONDS
        self._taken = self._since = 0.0

    def begin(self, characters: int) -> None:
        """A row whose texts have so many characters."""
        self._allowed += self._row_seconds + _CHARACTER_SECONDS * characters
        self._items = self._made = 0
        self._most_made = MOST_MADE + _COPIES * characters
        self._since = time.thread_time()

    def end(self) -> None:
        self._taken += time.thread_time() - self._since

    def left(self) -> float:
        """Seconds that are left of the pass. Raises ``BeyondBoundsError`` where none are."""
        seconds = self._allowed - self._taken - (time.thread_time() - self._since)
        if seconds <= 0:
            raise BeyondBoundsError(f"it takes {PASS_SECONDS:g} seconds longer than it should for this many rows")
        return seconds

    def step(self, value: Any, *, made: bool) -> Any:
        """``value``, the outcome of one part of the expression; ``made``: not just named."""
        kind = type(value)
        self._steps += 1 + (len(value) // _STEP_CHARACTERS if kind is str or kind is bytes else 0)
        if self._steps >= _STEPS:
            self._steps = 0
            self.left()
        if kind is bool or kind is float or value is None:
            return value
        if kind is int:
            return bounded(value)
        if kind is str or kind is bytes:
            if made:
                self.charge(characters=len(value))
            return value
        self.charge(*self.weight(value))
        return value

    def charge(self, items: int = 0, characters: int = 0) -> None:
        """Count what is made, or about to be. Raises ``BeyondBoundsError``."""
        self._items += items
        self._made += characters
        if self._items > MOST_ITEMS or self._made > self._most_made:
            raise BeyondBoundsError("it makes texts or lists that are too long")

    def weight(self, value: Any) -> tuple[int, int]:
        """Items and characters of ``value`` as written out, what is in it several times as often. Stops early."""
        items = characters = 0
        stack = [value]
        while stack and items <= MOST_ITEMS:
            held = stack.pop()
            if isinstance(held, str | bytes):
                characters += len(held)
            elif isinstance(held, dict):
                items += 2 * len(held)
                stack += [*held.keys(), *held.values()] if items <= MOST_ITEMS else []
            elif isinstance(held, list | tuple | set | frozenset):
                items += len(held)
                stack += held if items <= MOST_ITEMS else []
        return items, characters

    def operators(self) -> dict[type[ast.AST], Callable[..., Any]]:
        """The operators whose results are larger than what they are given, with their bounds."""
        return {ast.Add: self._add, ast.Mult: self._multiply, ast.Pow: _power, ast.Mod: self._modulo}

    def collected(self, kind: Callable[..., Any]) -> Callable[..., Any]:
        """``list``, ``tuple``, ``set`` or ``dict`` of something with a length that is not too long."""

        def collection(*given: Any, **named: Any) -> Any:
            for value in given:
                self.charge(items=len(value) if isinstance(value, Sized) else 0)
            return kind(*given, **named)

        return collection

    def matches(self, pattern: Any, text: Any) -> bool:
        """Whether a regular expression is found in ``text``, within ``SECONDS`` and what is left of the pass."""
        if not isinstance(pattern, str):
            raise TypeError("a pattern is a text")
        if len(pattern) > _MOST_PATTERN:
            raise BeyondBoundsError(f"a pattern has more than {_MOST_PATTERN:,} characters")
        repeats = 1
        for least, most in _REPEAT.findall(pattern):
            repeats *= max(1, int(most or least or 1))
            if repeats > _MOST_REPEATS or repeats * len(pattern) > _MOST_REPEATED:
                raise BeyondBoundsError(
                    f"the pattern repeats its parts more than {_MOST_REPEATS:,} times, "
                    f"or comes to more than {_MOST_REPEATED:,} characters with them"
                )
        if _CALLS_ITSELF.search(pattern):
            raise BeyondBoundsError("a pattern cannot call itself or its groups")
        return regex.search(pattern, str(text), timeout=min(SECONDS, self.left())) is not None

    def words(self, text: Any) -> int:
        """How many words ``text`` has. They are counted as made, since that takes as long as copying it."""
        text = str(text)
        self.charge(characters=len(text))
        self.left()
        return sum(1 for _ in _WORD.finditer(text))

    def lower(self, text: Any) -> str:
        self.left()
        return str(text).lower()

    def _add(self, a: Any, b: Any) -> Any:
        if isinstance(a, Sized) and isinstance(b, Sized):
            long = len(a) + len(b)
            self.charge(characters=long) if isinstance(a, str | bytes) else self.charge(items=long)
        return a + b

    def _multiply(self, a: Any, b: Any) -> Any:
        if isinstance(a, int) and isinstance(b, int):
            if a.bit_length() + b.bit_length() > MOST_BITS:
                raise BeyondBoundsError(f"a number has more than {MOST_BITS} bits")
            return a * b
        whole, times = (b, a) if isinstance(a, int) else (a, b)
        if isinstance(times, int) and isinstance(whole, Sized):
            items, characters = self.weight(whole)
            self.charge(items * max(times, 0), characters * max(times, 0))
        return a * b

    def _modulo(self, a: Any, b: Any) -> Any:
        if isinstance(a, str | bytes):
            form = a if isinstance(a, str) else a.decode("latin-1")
            if _WIDE_PERCENT.search(form):
                raise BeyondBoundsError("a format may ask for 99 characters at most, and for no names")
            self.charge(characters=len(form) + self.weight(b)[1])
        return a % b


def _power(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and a.bit_length() * b > MOST_BITS:
        raise BeyondBoundsError(f"a number has more than {MOST_BITS} bits")
    return operator.pow(a, b)
