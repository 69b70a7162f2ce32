"""Long lists of values in statements."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import ARRAY, ColumnElement, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

T = TypeVar("T")

# Databases bound the parameters of a statement; a row has no more than ten.
_AT_ONCE = 500


def batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """``values`` in order, part by part: for rows to insert, which take many parameters each."""
    for first in range(0, len(values), _AT_ONCE):
        yield values[first : first + _AT_ONCE]


def among(
    session: Session, column: ColumnElement[Any] | InstrumentedAttribute[Any], values: Collection[int | str]
) -> ColumnElement[bool]:
    """That ``column`` is one of ``values``, however many: they are one parameter, so one statement takes them all."""
    if session.get_bind().dialect.name == "postgresql":
        return column == func.any(literal(list(values), ARRAY(column.type)))
    listed = func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(select(listed.c.value))
