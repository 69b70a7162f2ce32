"""The one way to the catalogue's rows: a Database with read() and write()."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Engine, event, inspect, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from caa_registry.catalog.engines import (
    REPORTED,
    Purpose,
    explain,
    file_uri,
    is_too_long,
    readers,
    sqlite_engine,
)
from caa_registry.catalog.files import check_file, prepare_file
from caa_registry.catalog.integrity.damage import DamagedCell, located
from caa_registry.catalog.integrity.inspection import checked_revision
from caa_registry.catalog.location import Location, locate
from caa_registry.catalog.schema import current_revision, migrations_folder, needs_upgrade
from caa_registry.catalog.server.engine import postgres_engine, take_lock
from caa_registry.catalog.server.refusals import MAY_NOT, is_refusal
from caa_registry.catalog.upgrade import upgrade_file, upgrade_server
from caa_registry.errors import IntegrityError, RegistryError


class ReadSession(Session):
    """A session whose changes are refused."""


@event.listens_for(ReadSession, "before_flush")
def _refuse_changes(session: Session, _context: object, _instances: object) -> None:
    if session.new or session.deleted or any(session.is_modified(row) for row in session.dirty):
        raise RuntimeError("rows were changed inside Database.read(); use Database.write()")


class Database:
    """An open registry database, from ``Database.open``.

    - ``read()`` sees one unchanging state and cannot write, by the ORM or by SQL.
    - ``write()`` is one transaction: committed whole, or not at all. There is one writer at a time, on
      SQLite (BEGIN IMMEDIATE) and on PostgreSQL (an advisory lock), so reading before writing is safe in it.
      Hash, compute and download before entering.
    - It may be shared between threads and survives a fork.
    """

    def __init__(self, location: Location, engine: Engine, *, read_only: bool = False) -> None:
        self._location = location
        self._engine = engine
        self._read_only = read_only
        self._readers = readers(engine)
        self._thread = threading.local()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        create: bool,
        shared: bool = False,
        read_only: bool = False,
        migrations: Path | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> Self:
        """Open the registry at ``url``, making it first where ``create`` is true and there is none.

        A new SQLite file is for its owner only, unless it is ``shared``: then the umask decides.

        An older SQLite registry is backed up and upgraded; on PostgreSQL that is left to ``caa db upgrade``.
        ``facts``: what a registry that is made here holds in table ``meta`` from the beginning.
        ``read_only``: nothing is written, so the file may lie on a read-only disk; an older one is refused.
        Raises ``RegistryError`` when there is no registry, when it is newer than this installation, and when
        what is there belongs to another program (which is then left as it is).
        """
        location = locate(url)
        folder = migrations or migrations_folder()
        engine: Engine | None = None
        try:
            if location.path is not None and read_only:
                check_file(location.path, read_only=True)
                engine = sqlite_engine(location.path, Purpose.LOOK)
                _check_readable(engine, location.path, folder)
            elif location.path is not None:
                prepare_file(location.path, folder, create=create, shared=shared, facts=facts)
                engine = sqlite_engine(location.path)
                _ready_file(engine, location.path, folder)
            else:
                engine = postgres_engine(location)
                _ready_server(engine, location, folder, create=create and not read_only, facts=facts)
        except REPORTED as error:
            if engine is not None:
                engine.dispose()
            raise explain(location, error) from location.cause(error)
        except BaseException:
            if engine is not None:
                engine.dispose()
            raise
        return cls(location, engine, read_only=read_only)

    @property
    def shown(self) -> str:
        """Where the registry is, without a password."""
        return self._location.shown

    @property
    def path(self) -> Path | None:
        """The file of a SQLite registry."""
        return self._location.path

    @property
    def read_only(self) -> bool:
        """Whether nothing may be written."""
        return self._read_only

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def check_writable(self) -> None:
        """Raise ``RegistryError`` where this user may only read: it is to be said before any work."""
        if self._read_only:
            raise RegistryError(f"{self.shown} is opened read-only", "Nothing was changed. Leave --read-only out.")
        if self.dialect == "postgresql" and self._why_not is not None:
            raise RegistryError(f"{self.shown}: {self._why_not[0]}", self._why_not[1])

    @cached_property
    def _why_not(self) -> tuple[str, str] | None:
        """Why a server takes no changes from this user, and what to do; asked once."""
        with self.read() as session:
            follows, may = session.execute(
                text("SELECT pg_is_in_recovery(), has_table_privilege('event', 'INSERT')")
            ).one()
        if follows:
            return "it follows another server, and takes no changes", "Nothing was changed. Write to the other server."
        return None if may else ("this user may only read it", MAY_NOT)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database and cannot change it."""
        with self._explained(), ReadSession(self._readers, expire_on_commit=False) as session:
            yield session
            session.flush()  # changes that nobody would ever see are a mistake: say so

    @contextmanager
    def changes(self) -> Iterator[Callable[[], int]]:
        """A count of a SQLite registry that is another one after each change, whoever made it, and when the log begins
        anew."""
        assert self.path is not None
        uri = file_uri(self.path, read_only=True)
        with self._explained(), closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            yield lambda: int(connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in a write transaction, committed at the end and rolled back on an exception. Raises
        ``RegistryError`` where the registry was opened read-only."""
        self.check_writable()
        if getattr(self._thread, "writing", False):
            raise RuntimeError("write() inside write() would wait for itself; pass the session on")
        self._thread.writing = True
        try:
            with (
                self._explained(),
                Session(self._engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                connection = session.connection()  # on SQLite this takes the lock, before anything is read
                if self.dialect == "postgresql":
                    take_lock(connection)
                yield session
        finally:
            self._thread.writing = False

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, PoolTimeoutError, UnicodeDecodeError) as error:
            raise explain(self._location, error) from self._location.cause(error)
        except DatabaseError as error:
            # Its subclasses (a broken constraint, bad SQL) are for the caller; the class itself is damage.
            if type(error) is not DatabaseError and not is_too_long(error) and not is_refusal(error):
                raise
            raise explain(self._location, error) from self._location.cause(error)
        except DamagedCell as error:
            raise self._named(error) from error

    def _named(self, cell: DamagedCell) -> IntegrityError:
        from caa_registry.catalog.models import Base

        with self._readers.connect() as connection:
            return located(connection, cell, Base.metadata.tables[cell.place.split(".")[0]])

    def close(self) -> None:
        """Close all connections. On SQLite the last one to close folds the log into the file."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Database({self.shown!r})"


def _check_readable(engine: Engine, path: Path, folder: Path) -> None:
    with readers(engine).connect() as connection:
        revision = checked_revision(connection, str(path), folder)
        if revision is None:
            raise RegistryError(f"{path} is damaged: it holds no schema", "Restore a backup.")
        if needs_upgrade(connection, str(path), folder):
            raise RegistryError(
                f"{path} has the older schema {revision}", "Copy the file, and open the copy: that upgrades it."
            )


def _ready_file(engine: Engine, path: Path, folder: Path) -> None:
    with readers(engine).connect() as connection:
        if checked_revision(connection, str(path), folder) is None:
            raise RegistryError(f"{path} is damaged: it holds no schema", "Restore a backup.")
        old = needs_upgrade(connection, str(path), folder)
    if old:
        engine.dispose()
        upgrade_file(path, folder)


def _ready_server(
    engine: Engine, location: Location, folder: Path, *, create: bool, facts: Mapping[str, str] | None
) -> None:
    shown = location.shown
    from caa_registry.catalog.models import Base

    with readers(engine).connect() as connection:
        revision = current_revision(connection)
        if revision is not None:
            if needs_upgrade(connection, shown, folder):
                raise RegistryError(
                    f"{shown} has the older schema {revision}",
                    f"Back it up, then run: caa db upgrade {location.option}",
                )
            return
        taken = sorted(set(inspect(connection).get_table_names()) & set(Base.metadata.tables))
    if not create:
        raise RegistryError(f"no registry at {shown}", f"Run: caa init {location.option}")
    if taken:
        raise RegistryError(
            f"{shown} already has tables of another program named {', '.join(taken)}",
            "Give the registry a database of its own.",
        )
    upgrade_server(engine, shown, folder, facts)
