"""Which schema a registry has, and which ones this installation knows.

Revisions are numbered files in the migrations folder, so that looking whether anything is to be done needs no
Alembic. A database is always brought up from the first revision, in one transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from caa_registry.errors import RegistryError
from caa_registry.package import __version__, shipped

VERSION_TABLE = "caa_alembic_version"

_one_at_a_time = threading.Lock()  # Alembic keeps its context in module globals


def migrations_folder() -> Path:
    """The migrations: beside the code in a wheel, at the top of a checkout."""
    folder = shipped("migrations")
    if (folder / "env.py").is_file():
        return folder
    raise RegistryError("the migrations are missing from this installation", "Install caa-registry again.")


def revisions(folder: Path) -> list[str]:
    """The revisions in ``folder``, oldest first."""
    return sorted(path.name.split("_")[0] for path in (folder / "versions").glob("[0-9]*_*.py"))


def head_revision(folder: Path | None = None) -> str:
    """The newest schema that this installation knows."""
    return revisions(folder or migrations_folder())[-1]


def current_revision(connection: Connection) -> str | None:
    """The schema of the database, ``None`` when it has none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    value = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    return None if value is None else str(value)


def needs_upgrade(connection: Connection, shown: str, folder: Path) -> bool:
    """Whether the database is older than this installation. Raises ``RegistryError`` when it is newer."""
    known = revisions(folder)
    current = current_revision(connection)
    if current is None or current in known:
        return current != known[-1]
    writer = connection.scalar(text("SELECT value FROM meta WHERE key = 'written_by'"))
    needed = f"{writer} or newer" if writer else "a newer caa-registry"
    raise RegistryError(
        f"{shown} was written by a newer caa-registry (schema {current}, this one knows up to {known[-1]})",
        f"It needs {needed}. Run: pip install --upgrade caa-registry",
    )


def migrate(
    connection: Connection, folder: Path, revision: str = "head", facts: Mapping[str, str] | None = None
) -> None:
    """Bring the database to ``revision``, the newest schema, inside the transaction that ``connection`` is in.
    ``facts``: more of what table ``meta`` is to hold, by key."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, revision)
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if broken:
            tables = ", ".join(sorted({row[0] for row in broken}))
            raise RegistryError(
                f"the upgrade would leave rows in {tables} that refer to nothing", "Nothing was changed."
            )
    for key, value in {"written_by": f"caa-registry {__version__}", **(facts or {})}.items():
        connection.execute(text("DELETE FROM meta WHERE key = :key"), {"key": key})
        connection.execute(text("INSERT INTO meta (key, value) VALUES (:key, :value)"), {"key": key, "value": value})
