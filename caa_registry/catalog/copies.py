"""Copies of a whole registry: a SQLite file page by page, and the rows of one database into another."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import func, insert, inspect, select, text
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.bytes_copy import copy_bytes, still
from caa_registry.catalog.engines import REPORTED, explain, file_uri, postgres_engine, take_lock
from caa_registry.catalog.location import Location
from caa_registry.catalog.schema import VERSION_TABLE, migrate, migrations_folder
from caa_registry.disk import own_file
from caa_registry.errors import RegistryError
from caa_registry.progress import Progress, silent

_PAGES = 4096
_ROWS = 1000
_BLOBS = 20

NUMBERED = "numbered_by"
"""In table ``meta``: that ids were given by PostgreSQL, which leaves some out."""


# A smaller file is copied page by page before another process has begun.
_LARGE = 100_000_000


def copy_file(source: Path, target: Path, progress: Progress = silent, *, fold: bool = False) -> None:
    """Copy a SQLite file as it is at one moment, though others go on writing, to one new file that needs no other and
    has the same permissions. It is not yet on the disk: see ``settle``.

    ``fold``: the log of the source may be folded into its file, by which a large one is copied in a third of the time.
    """
    own_file(target)
    with still(source) if fold and source.stat().st_size >= _LARGE else nullcontext(False) as stands:
        if stands:
            copy_bytes(source, target, progress)
        else:
            _copy_pages(source, target, progress)
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous=OFF")
        copy.execute("PRAGMA journal_mode=DELETE")
    shutil.copymode(source, target)


def _copy_pages(source: Path, target: Path, progress: Progress) -> None:
    with (
        closing(sqlite3.connect(file_uri(source, read_only=True), uri=True, isolation_level=None)) as origin,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        # Nobody else sees the copy yet, and it is put on the disk as a whole. Its pages are not read again.
        for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=16"):
            copy.execute(f"PRAGMA {setting}")
        # In a transaction of its own, or the copy would begin again with whatever another process writes.
        origin.execute("BEGIN")
        origin.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        origin.backup(copy, pages=_PAGES, progress=lambda _, left, pages: progress(pages - left, pages))


def settle(path: Path) -> None:
    """Have all of a file on the disk."""
    with path.open("rb") as written:
        os.fsync(written.fileno())


@contextmanager
def settling(path: Path) -> Iterator[None]:
    """Have all of a file on the disk at the end of the context, and meanwhile be put there."""
    with ThreadPoolExecutor(1) as beside:
        settled = beside.submit(settle, path)
        yield
        settled.result()


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
