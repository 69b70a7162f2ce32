"""A page of a listing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

from caa_registry.errors import UsageError

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, eq=False)
class Listing(Sequence[T_co]):
    """The rows that were asked for, in order. ``total``: how many there are without the limit.

    Equal to any sequence of equal rows, so that it reads like a list.
    """

    rows: tuple[T_co, ...]
    total: int

    @classmethod
    def whole(cls, rows: Sequence[T_co]) -> Listing[T_co]:
        """A listing without a limit."""
        return cls(tuple(rows), len(rows))

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T_co, ...]: ...
    def __getitem__(self, index: int | slice) -> T_co | tuple[T_co, ...]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Listing):
            return self.rows == other.rows and self.total == other.total
        return self.rows == tuple(other) if isinstance(other, list | tuple) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def check_limit(limit: int | None) -> int | None:
    """``limit`` if a listing can have so many rows at most; ``None`` is no limit. Raises ``UsageError``."""
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} rows shows nothing", "Give 1 or more, or none for all rows.")
    return limit
