"""The digest of a row, written with it and compared when it is read.

What a version says (its source, its recipe, its scores) is covered by the digests of ``caa_registry.digests``, or by
none. The digest of a row covers all its cells, so that whatever changes one of them is noticed where it is read. It
belongs to this registry alone: it covers ids, which differ from one registry to the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar

from sqlalchemy import event, inspect
from sqlalchemy.orm import Mapped, Mapper, QueryContext, Session

from caa_registry.catalog.base import Digest
from caa_registry.catalog.integrity.damage import damaged, name_of
from caa_registry.digests import digest_bytes

# Cells that no digest of a row covers: its number, given when it is written, and what may change.
_NOT_COVERED = frozenset({"id", "deleted_at", "row_digest", "unchecked_before"})


class Sealed:
    """A table whose rows carry a digest of what they say.

    ``row_digest`` is missing in a row that was damaged when the registry got this column. ``unchecked_before``: since
    when an older row is checked; damage from before cannot be told. ``__movable__``: columns that may change.
    """

    __movable__: ClassVar[frozenset[str]] = frozenset()

    row_digest: Mapped[Digest | None]
    unchecked_before: Mapped[datetime | None]


def digest_of_row(table: str, cells: Mapping[str, Any], movable: Iterable[str] = ()) -> str:
    """The digest of what ``cells``, by column, say. Empty cells do not count, so that a new column changes nothing."""
    left_out = _NOT_COVERED.union(movable)
    said = {name: plain(value) for name, value in cells.items() if value is not None and name not in left_out}
    return _digest(f"row/{table}", said)


def digest_of_rows(table: str, rows: Iterable[Sequence[Any]]) -> str:
    """The digest of rows that belong together, in their order."""
    return _digest(f"rows/{table}", [[plain(cell) for cell in row] for row in rows])


def _digest(schema: str, value: Any) -> str:
    text = json.dumps([f"caa-registry/{schema}/v1", value], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


def plain(value: Any) -> Any:
    """``value`` in the one form that both databases give back: a number by its value, whatever its type was."""
    kind = type(value)
    if kind is float:
        return value + 0.0  # not -0.0
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict:
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, int):
        try:
            number = float(value)
        except OverflowError:
            return value
        return number + 0.0 if number == value else value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    raise TypeError(f"{type(value).__name__} stands in no row")


def check_row(table: type[Any], cells: Mapping[str, Any], session: Session) -> None:
    """Raise ``IntegrityError`` unless ``cells``, all that a row of ``table`` holds, are what was stored."""
    name = table.__tablename__
    if cells["row_digest"] is None:
        raise damaged(name_of(session.connection(), name, cells), "it was damaged before its registry was upgraded")
    if cells["row_digest"] != digest_of_row(name, cells, table.__movable__):
        raise damaged(name_of(session.connection(), name, cells), "it is not what was stored")


@event.listens_for(Sealed, "before_insert", propagate=True)
@event.listens_for(Sealed, "before_update", propagate=True)
def _seal(mapper: Mapper[Any], _connection: object, row: Any) -> None:
    for attribute in mapper.column_attrs:
        (column,) = attribute.columns
        # A default is filled in later, but it is part of what the row says.
        if column.default is not None and getattr(row, attribute.key) is None:
            given = column.default.arg
            setattr(row, attribute.key, given(None) if column.default.is_callable else given)
    row.row_digest = digest_of_row(row.__tablename__, _cells(row), row.__movable__)


@event.listens_for(Sealed, "load", propagate=True)
def _check_loaded(row: Any, context: QueryContext) -> None:
    check_row(type(row), _cells(row), context.session)


@event.listens_for(Sealed, "refresh", propagate=True)
def _check_refreshed(row: Any, context: QueryContext, _attributes: object) -> None:
    check_row(type(row), _cells(row), context.session)


def _cells(row: Any) -> dict[str, Any]:
    return {name: getattr(row, key) for name, key in _attributes(inspect(type(row)))}


@cache
def _attributes(mapper: Mapper[Any]) -> list[tuple[str, str]]:
    return [(attribute.columns[0].name, attribute.key) for attribute in mapper.column_attrs]
