"""The rows of one database copied into another."""

from __future__ import annotations

from sqlalchemy import func, insert, inspect, select, text
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.engines import REPORTED, explain, postgres_engine, take_lock
from caa_registry.catalog.location import Location
from caa_registry.catalog.schema import VERSION_TABLE, migrate, migrations_folder
from caa_registry.catalog.search.entries import make_index
from caa_registry.errors import RegistryError
from caa_registry.progress import Progress, silent

_ROWS = 1000
_BLOBS = 20

NUMBERED = "numbered_by"
"""In table ``meta``: that ids were given by PostgreSQL, which leaves some out."""


def copy_rows(source: Session, target: Session, progress: Progress = silent) -> None:
    """Copy all rows of a registry into one of the same schema that has none, with the numbers that they have."""
    tables = t.Base.metadata.sorted_tables
    counts = [source.scalar(select(func.count()).select_from(table)) or 0 for table in tables]
    done, total = 0, sum(counts)
    target.execute(t.Meta.__table__.delete())  # type: ignore[attr-defined]
    for table in tables:
        at_once = _BLOBS if table is t.Blob.__table__ else _ROWS
        query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=at_once)
        for rows in source.execute(query).mappings().partitions():
            target.execute(insert(table), [dict(row) for row in rows])
            done += len(rows)
            progress(done, total)
    if source.get_bind().dialect.name == "postgresql" and target.get(t.Meta, NUMBERED) is None:
        target.add(t.Meta(key=NUMBERED, value="postgresql"))
    if target.get_bind().dialect.name == "postgresql":
        _continue_numbers(target)
    make_index(target)


def fill_server(location: Location, source: Session, progress: Progress = silent) -> None:
    """Make a registry of all rows of ``source`` in a PostgreSQL database that has none, in one transaction. Raises
    ``RegistryError`` where somebody else has made one meanwhile."""
    engine = postgres_engine(location)
    try:
        with engine.begin() as connection:
            take_lock(connection)
            taken = set(inspect(connection).get_table_names()) & {VERSION_TABLE, *t.Base.metadata.tables}
            if taken:
                raise RegistryError(
                    f"{location.shown} has tables already: {', '.join(sorted(taken))}",
                    "A backup is restored into an empty database only.",
                )
            migrate(connection, migrations_folder())
            with Session(connection) as target:
                copy_rows(source, target, progress)
                target.flush()
    except REPORTED as error:
        raise explain(location, error) from location.cause(error)
    finally:
        engine.dispose()


def _continue_numbers(session: Session) -> None:
    """Have PostgreSQL number new rows behind those that were copied."""
    for table in t.Base.metadata.sorted_tables:
        if "id" in table.columns and session.scalar(select(func.max(table.columns.id))) is not None:
            session.execute(
                text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), (SELECT max(id) FROM {table.name}))")
            )
