"""Every row of a table, whatever it holds: what cannot be read is told, and the next row follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from caa_registry.catalog.integrity.damage import DamagedCell
from caa_registry.catalog.integrity.row_digests import Sealed, digest_of_row

_AT_ONCE = 1000


def scan(session: Session, table: type[Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The cells of each row by column, and what is wrong with it: ``""`` where its cells can be read and fit its
    digest, if it has one. Cells that cannot be read are as the database gives them."""
    connection = session.connection()
    columns = inspect(table).local_table.columns
    readers = [(c.name, c.type.dialect_impl(connection.dialect)) for c in columns]
    read = {name: kind.result_processor(connection.dialect, None) for name, kind in readers}
    query = text(f'SELECT * FROM "{table.__tablename__}"').execution_options(yield_per=_AT_ONCE)
    for row in connection.execute(query).mappings():
        cells, problem = dict(row), ""
        for name, reader in read.items():
            try:
                cells[name] = cells[name] if reader is None else reader(cells[name])
            except DamagedCell:
                problem = problem or f"its {name} cannot be read"
        if not problem and issubclass(table, Sealed):
            problem = _sealed(table, cells)
        yield cells, problem


def _sealed(table: type[Sealed], cells: Mapping[str, Any]) -> str:
    if cells["row_digest"] is None:
        return "it was damaged before its registry was upgraded"
    try:
        holds = cells["row_digest"] == digest_of_row(str(getattr(table, "__tablename__", "")), cells, table.__movable__)
    except TypeError:
        holds = False  # a cell holds what is never written
    return "" if holds else "it is not what was stored"
