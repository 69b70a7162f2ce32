"""Halves of the rows of a split: one to choose a layer on, the other to report it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from caa_registry.errors import UsageError

T = TypeVar("T")

Half = Literal["all", "even", "odd"]

# Of each half the remainders by 2 of its rows, counted from 0.
REMAINDERS: Mapping[Half, tuple[int, ...]] = {"all": (0, 1), "even": (0,), "odd": (1,)}


def check_half(half: str) -> Half:
    """``half`` if it is known, else ``UsageError``."""
    for known in REMAINDERS:
        if half == known:
            return known
    raise UsageError(f"there is no half {half!r}", f"Choose one of {', '.join(REMAINDERS)}.")


def half_of(rows: Sequence[T], half: Half) -> list[T]:
    """The rows of a split that belong to ``half``, in order."""
    return [row for place, row in enumerate(rows) if place % 2 in REMAINDERS[half]]
