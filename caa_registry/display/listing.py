"""Rows that are handed out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar, overload

from caa_registry.display.records import Record, Table

T_co = TypeVar("T_co", bound=Record, covariant=True)


@dataclass(frozen=True, eq=False)
class Listing(Table, Sequence[T_co]):
    """The rows that were asked for, in order. ``total``: how many there are without the limit.

    Equal to any sequence of equal rows, so that it reads like a list. A slice of it is a listing too. ``to_frame()``
    has a line for each row.
    """

    _facts: ClassVar = ""

    rows: tuple[T_co, ...]
    total: int

    @classmethod
    def whole(cls, rows: Sequence[T_co]) -> Listing[T_co]:
        """A listing without a limit."""
        return cls(tuple(rows), len(rows))

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Listing[T_co]: ...
    def __getitem__(self, index: int | slice) -> T_co | Listing[T_co]:
        return Listing(self.rows[index], self.total) if isinstance(index, slice) else self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Listing):
            return self.rows == other.rows and self.total == other.total
        return self.rows == tuple(other) if isinstance(other, list | tuple) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def _rows(self) -> Sequence[T_co]:
        return self.rows

    def _of(self) -> int:
        return self.total

    def _called(self) -> str:
        return f"{len(self):,} {type(self.rows[0]).__name__}" if self.rows else "of no rows"
