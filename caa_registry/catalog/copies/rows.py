"""The rows of one database copied into another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from sqlalchemy import Table, func, insert, inspect, select, text
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.base import CheckedString, CheckedText, Json
from caa_registry.catalog.engines import REPORTED, explain
from caa_registry.catalog.integrity.row_digests import plain
from caa_registry.catalog.location import Location
from caa_registry.catalog.schema import VERSION_TABLE, migrate, migrations_folder
from caa_registry.catalog.search.entries import make_index
from caa_registry.catalog.server.engine import postgres_engine, take_lock
from caa_registry.errors import IntegrityError, RegistryError
from caa_registry.progress import Progress, part_of, silent

_ROWS = 1000
_BLOBS = 20

NUMBERED = "numbered_by"
"""In table ``meta``: that ids were given by PostgreSQL, which leaves some out."""

MAY_GO = ("alias", "tag", "search_entry")
"""Tables with ids whose rows may be deleted. The number behind the last one given is copied too."""


def copy_rows(source: Session, target: Session, progress: Progress = silent) -> None:
    """Copy all rows of a registry into one of the same schema that has none, with the numbers that they have."""
    target.execute(t.Meta.__table__.delete())  # type: ignore[attr-defined]
    done, total = 0, _count(source)
    for table in t.Base.metadata.sorted_tables:
        for rows in _rows(source, table):
            target.execute(insert(table), rows)
            done += len(rows)
            progress(done, total)
    _copy_numbers(source, target)
    make_index(target)


def check_same(source: Session, target: Session, progress: Progress = silent) -> None:
    """Compare all rows of two registries of the same schema. Raises ``IntegrityError`` naming the first table in which
    they differ."""
    done, total = 0, _count(source)
    for table in t.Base.metadata.sorted_tables:
        for ours, theirs in zip_longest(_rows(source, table), _rows(target, table)):
            if ours is None or theirs is None or _said(table, ours) != _said(table, theirs):
                raise IntegrityError(
                    f"table {table.name} of the copy is not what was copied", "Nothing was kept of the copy. Try again."
                )
            done += len(ours)
            progress(done, total)


def fill_server(location: Location, source: Session, progress: Progress = silent) -> None:
    """Make a registry of all rows of ``source`` in a PostgreSQL database that has none, in one transaction, in which
    they are read again. Raises ``RegistryError`` as ``check_empty`` does."""
    engine = postgres_engine(location)
    try:
        with engine.begin() as connection:
            take_lock(connection)
            _check_empty(location, connection)
            migrate(connection, migrations_folder())
            with Session(connection) as target:
                copy_rows(source, target, part_of(progress, 0, (2, 1)))
                target.flush()
                check_same(source, target, part_of(progress, 1, (2, 1)))
    except REPORTED as error:
        raise explain(location, error) from location.cause(error)
    finally:
        engine.dispose()


def check_empty(location: Location) -> None:
    """Raise ``RegistryError`` unless a registry can be made in a PostgreSQL database: where it has tables of that name,
    or the user may not make any."""
    engine = postgres_engine(location)
    try:
        with engine.connect() as connection:
            _check_empty(location, connection)
    except REPORTED as error:
        raise explain(location, error) from location.cause(error)
    finally:
        engine.dispose()


def _check_empty(location: Location, connection: Any) -> None:
    taken = set(inspect(connection).get_table_names()) & {VERSION_TABLE, *t.Base.metadata.tables}
    if taken:
        raise RegistryError(
            f"{location.shown} has tables already: {', '.join(sorted(taken))}",
            "A registry is put into an empty database only.",
        )
    if not connection.scalar(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")):
        raise RegistryError(
            f"{location.shown}: this user may not make tables there",
            "Nothing was changed. Connect as the owner of the database.",
        )


def _count(session: Session) -> int:
    return sum(session.scalar(select(func.count()).select_from(table)) or 0 for table in t.Base.metadata.sorted_tables)


def _rows(session: Session, table: Table) -> Iterator[list[dict[str, Any]]]:
    """The rows of a table in the order of its key, some at a time."""
    at_once = _BLOBS if table is t.Blob.__table__ else _ROWS
    key: list[Any] = list(table.primary_key.columns)
    if session.get_bind().dialect.name == "postgresql":
        # The order of texts in which SQLite has them, whatever the language of the database.
        key = [
            column.collate("C") if isinstance(column.type, CheckedText | CheckedString) else column for column in key
        ]
    query = select(table).order_by(*key).execution_options(yield_per=at_once)
    for rows in session.execute(query).mappings().partitions():
        yield [dict(row) for row in rows]


def _said(table: Table, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as they compare: JSON in the form that both databases give back, whatever the order of its keys."""
    if table is t.Meta.__table__:
        return [row for row in rows if row["key"] != NUMBERED]
    names = [column.name for column in table.columns if isinstance(column.type, Json)]
    return [{**row, **{name: json.dumps(plain(row[name]), sort_keys=True) for name in names}} for row in rows]


def _copy_numbers(source: Session, target: Session) -> None:
    """Have the target go on numbering where the source does."""
    from_server, to_server = (session.get_bind().dialect.name == "postgresql" for session in (source, target))
    last = _last_numbers(source)
    if to_server:
        for table in _numbered():
            greatest = target.scalar(select(func.max(table.columns.id))) or 0
            number = max(greatest, last.get(table.name, 0))
            if number:
                sequence = func.pg_get_serial_sequence(table.name, "id")
                target.execute(select(func.setval(sequence, number)))
    else:
        for name, number in last.items():
            moved = target.execute(
                text("UPDATE sqlite_sequence SET seq = :n WHERE name = :t"), {"n": number, "t": name}
            )
            if moved.rowcount == 0:  # type: ignore[attr-defined]
                target.execute(
                    text("INSERT INTO sqlite_sequence (name, seq) VALUES (:t, :n)"), {"n": number, "t": name}
                )
    # SQLite's own numbers have no gaps, by which it is known that nothing is lost; those of PostgreSQL may have some.
    marked = target.get(t.Meta, NUMBERED)
    if from_server and not to_server and marked is None and _has_gaps(target):
        target.add(t.Meta(key=NUMBERED, value="postgresql"))
    if to_server and marked is not None and _has_gaps(target):
        target.delete(marked)  # it is said again in the next file
    target.flush()


def _numbered() -> list[Table]:
    return [table for table in t.Base.metadata.sorted_tables if "id" in table.columns]


def _has_gaps(session: Session) -> bool:
    """Whether numbers were left out in a table whose rows never go."""
    queries = [select(func.max(table.columns.id), func.count()) for table in _numbered() if table.name not in MAY_GO]
    return any((last or 0) != count for query in queries for last, count in session.execute(query))


def _last_numbers(session: Session) -> dict[str, int]:
    """The last number that was given in each table of ``MAY_GO``, where there was one."""
    if session.get_bind().dialect.name == "sqlite":
        found = session.execute(text("SELECT name, seq FROM sqlite_sequence")).all()
        return {name: int(number) for name, number in found if name in MAY_GO}
    last = {}
    for name in MAY_GO:
        sequence = session.scalar(select(func.pg_get_serial_sequence(name, "id")))
        number, given = session.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()
        if given:
            last[name] = int(number)
    return last
