"""How an older registry gets the newest schema: a file after a backup, a server when asked."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine

from caa_registry.catalog.copies.files import copy_file, settle
from caa_registry.catalog.engines import (
    REPORTED,
    Purpose,
    explain,
    sqlite_engine,
    transaction,
)
from caa_registry.catalog.files import check_file
from caa_registry.catalog.integrity.inspection import checked_revision
from caa_registry.catalog.location import locate
from caa_registry.catalog.schema import (
    current_revision,
    head_revision,
    migrate,
    migrations_folder,
    needs_upgrade,
)
from caa_registry.catalog.server.engine import postgres_engine, take_lock, unbounded
from caa_registry.errors import RegistryError


def upgrade_file(path: Path, folder: Path) -> None:
    """Upgrade a SQLite registry after copying it to ``<file>.bak-<revision>``.

    The copy is made under the write lock, so it is what the upgrade starts from. When anything fails the file
    is as it was. Several processes may do this at once: the first upgrades, the others find nothing to do.
    """
    with transaction(sqlite_engine(path, Purpose.UPGRADE)) as connection:
        revision = checked_revision(connection, str(path), folder)
        if not needs_upgrade(connection, str(path), folder):
            return
        _back_up(path, f"{path.name}.bak-{revision or 'none'}")
        migrate(connection, folder)


def upgrade_server(engine: Engine, shown: str, folder: Path, facts: Mapping[str, str] | None = None) -> None:
    """Bring a PostgreSQL registry, or an empty database, to the newest schema. ``facts``: as ``migrate`` takes them."""
    with engine.begin() as connection:
        take_lock(connection)
        unbounded(connection)
        if needs_upgrade(connection, shown, folder):
            migrate(connection, folder, facts=facts)


def upgrade(url: str, *, migrations: Path | None = None) -> tuple[str, str]:
    """Upgrade an existing registry; returns its schema before and after. What ``caa db upgrade`` calls."""
    location = locate(url)
    folder = migrations or migrations_folder()
    try:
        if location.path is not None:
            check_file(location.path)
            with transaction(sqlite_engine(location.path, Purpose.UPGRADE)) as connection:
                before = checked_revision(connection, location.shown, folder)
            if before is not None:
                upgrade_file(location.path, folder)
        else:
            engine = postgres_engine(location)
            try:
                with engine.connect() as connection:
                    before = current_revision(connection)
                if before is not None:
                    upgrade_server(engine, location.shown, folder)
            finally:
                engine.dispose()
    except REPORTED as error:
        raise explain(location, error) from location.cause(error)
    if before is None:
        raise RegistryError(f"no registry at {location.shown}", f"Run: caa init {location.option}")
    return before, head_revision(folder)


@contextmanager
def migration_connection(url: str) -> Iterator[Connection]:
    """A connection for a developer's Alembic commands on an existing registry."""
    location = locate(url)
    path = location.path
    engine = postgres_engine(location) if path is None else sqlite_engine(path, Purpose.UPGRADE)
    with transaction(engine) as connection:
        yield connection


def _back_up(path: Path, name: str) -> None:
    target = path.with_name(name)
    part = path.with_name(f".caa-{secrets.token_hex(8)}.part")
    try:
        copy_file(path, part)
        settle(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
