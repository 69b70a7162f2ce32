"""Whether there is a registry and whether it can be opened, without making or changing anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Engine

from caa_registry.catalog.engines import REPORTED, Purpose, explain, readers, sqlite_engine
from caa_registry.catalog.files import check_file
from caa_registry.catalog.integrity.inspection import checked_revision
from caa_registry.catalog.location import Location, locate
from caa_registry.catalog.schema import current_revision, migrations_folder, needs_upgrade
from caa_registry.catalog.server.engine import postgres_engine
from caa_registry.errors import RegistryError


@dataclass(frozen=True)
class RegistryState:
    """What was found at a registry URL.

    ``shown``: where it is, without a password. ``state``: ``none`` where there is no registry yet, ``older`` where its
    schema is, else ``ready`` or ``unusable``. ``opens``: false only for a registry that is there and cannot be opened.
    ``schema``: its revision, where that is known. ``problem``: why it does not open, and what to do.
    """

    shown: str
    state: Literal["none", "ready", "older", "unusable"]
    opens: bool = True
    schema: str | None = None
    problem: str = ""


def look(url: str) -> RegistryState:
    """The state of the registry at ``url``. Raises ``RegistryError`` for a URL that names no registry at all."""
    location = locate(url)
    path = location.path
    if path is not None and (not path.exists() or (path.is_file() and path.stat().st_size == 0)):
        return RegistryState(location.shown, "none")
    engine: Engine | None = None
    try:
        engine = _engine(location, path)
        return _look(engine, location)
    except RegistryError as error:
        return RegistryState(location.shown, "unusable", opens=False, problem=str(error))
    except REPORTED as error:
        return RegistryState(location.shown, "unusable", opens=False, problem=str(explain(location, error)))
    finally:
        if engine is not None:
            engine.dispose()


def check_known(path: Path) -> bool:
    """Whether the file of a registry has the newest schema; it is only read. Raises ``RegistryError`` for one that is
    newer than this installation, or is not what the migrations make."""
    location = Location(str(path), path=path)
    engine = sqlite_engine(path, Purpose.LOOK)
    try:
        with readers(engine).connect() as connection:
            if checked_revision(connection, location.shown, migrations_folder()) is None:
                raise RegistryError(f"{path} is damaged: it holds no schema", "Restore a backup.")
            return not needs_upgrade(connection, location.shown, migrations_folder())
    except REPORTED as error:
        raise explain(location, error) from location.cause(error)
    finally:
        engine.dispose()


def _engine(location: Location, path: Path | None) -> Engine:
    if path is None:
        return postgres_engine(location)
    check_file(path)
    return sqlite_engine(path)


def _look(engine: Engine, location: Location) -> RegistryState:
    with readers(engine).connect() as connection:
        if location.path is None:
            schema = current_revision(connection)
        else:
            schema = checked_revision(connection, location.shown, migrations_folder())
        if schema is not None:
            if not needs_upgrade(connection, location.shown, migrations_folder()):
                return RegistryState(location.shown, "ready", schema=schema)
            if location.path is not None:  # a file is upgraded when it is opened
                return RegistryState(location.shown, "older", schema=schema)
            advice = f"Back it up, then run: caa db upgrade {location.option}"
            problem = f"{location.shown} has the older schema {schema}\n{advice}"
            return RegistryState(location.shown, "older", opens=False, schema=schema, problem=problem)
    if location.path is None:
        return RegistryState(location.shown, "none")
    raise RegistryError(f"{location.shown} is damaged: it holds no schema", "Restore a backup.")
