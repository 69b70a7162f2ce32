"""Long lists in parts that one statement can take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

# Databases bound the parameters of a statement; a row has no more than ten.
_AT_ONCE = 500


def batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """``values`` in order, part by part."""
    for first in range(0, len(values), _AT_ONCE):
        yield values[first : first + _AT_ONCE]
