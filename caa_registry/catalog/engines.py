"""Engines with the transactions a registry needs, and plain words for what a database driver reports."""

from __future__ import annotations

import enum
import itertools
import json
import os
import shutil
import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from caa_registry.catalog.location import Location
from caa_registry.catalog.server.refusals import state, told
from caa_registry.disk import is_full, refused
from caa_registry.errors import RegistryError

APPLICATION_ID = 0x43414152  # "CAAR", at offset 68 of the file
READ_ONLY = "caa_read_only"
# What a database or its disk may report, for ``explain``. Python cannot decode SQLite's report of a damaged schema.
REPORTED = (SQLAlchemyError, sqlite3.Error, OSError, UnicodeDecodeError)
LOCK_WAIT_MS = 30_000
# The log grows with what one transaction writes. What is left of it afterwards is no larger than this.
LOG_BYTES = 16 * 1024 * 1024

# What reading may take, in steps of SQLite: so many, and more for each byte of the file. Pages of a stranger's
# file may lead to one another again and again.
_MOST_STEPS = 20_000_000
_STEPS_A_BYTE = 20
_STEPS_AT_A_TIME = 1_000_000
# The longest text or blob that is read, unless the file takes half as much room on the disk: a file with holes may tell
# of a longer one, and few pages of it be that one. The longest that is written is SQLite's own limit.
_LONGEST_READ = 64 * 1024 * 1024
_LONGEST = 1_000_000_000

# NaN is refused on both dialects, since only one of them could store it.
dump_json = partial(json.dumps, allow_nan=False)

# What a write takes at least: some pages of the log and its index.
_TOO_LITTLE = 65_536
_DISK_FULL = "53100"  # the state of PostgreSQL

_BUSY = "Another process has been writing for a long time. Try again when it has ended."
_ADVICE = {
    "locked": _BUSY,
    "lock timeout": _BUSY,
    "malformed": "The file is damaged. Restore a backup.",
    "no such table": "The registry does not have the tables it should. Restore a backup.",
    "ould not decode": "The file is damaged. Restore a backup.",
    "no such module: fts5": "This Python's SQLite is built without FTS5, which registries need. Use another.",
    "not a database": "The file is damaged or no registry. Restore a backup.",
}

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Purpose(enum.Enum):
    """What a SQLite connection is for."""

    USE = "use"
    LOOK = "look"
    CREATE = "create"
    UPGRADE = "upgrade"


def sqlite_engine(path: Path, purpose: Purpose = Purpose.USE) -> Engine:
    """An engine on an existing file. Its transactions begin IMMEDIATE unless marked ``READ_ONLY``.

    Never makes a file. Foreign keys are enforced for ``USE`` only: a migration that makes a table anew would
    delete the rows that refer to it. ``LOOK`` writes nothing.
    """
    uri = file_uri(path, read_only=purpose is Purpose.LOOK)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=LOCK_WAIT_MS / 1000
        )

    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        creator=connect,
        json_serializer=dump_json,
        **({} if purpose is Purpose.USE else {"poolclass": NullPool}),
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        def pragma(setting: str) -> Any:
            row = connection.execute(f"PRAGMA {setting}").fetchone()
            return row[0] if row else None

        # Before anything is read: the file may come from anybody.
        _bound_reading(connection, path)
        pragma("trusted_schema=OFF")
        pragma("cell_size_check=ON")
        pragma("mmap_size=0")
        pragma(f"busy_timeout={LOCK_WAIT_MS}")
        pragma(f"journal_size_limit={LOG_BYTES}")
        pragma("recursive_triggers=ON")  # else INSERT OR REPLACE would pass by the triggers on DELETE
        if purpose is Purpose.USE:
            pragma("foreign_keys=ON")
        else:
            pragma("foreign_keys=OFF")
            pragma("legacy_alter_table=ON")  # else triggers that name a table made anew stop its renaming
        if purpose is Purpose.CREATE:
            pragma("page_size=8192")  # blobs of some 100 KB read faster; no effect on a file with content
            return
        if pragma("application_id") != APPLICATION_ID:
            raise RegistryError(f"{path} is not a CAA registry any more", "Was the file replaced?")
        if purpose is Purpose.LOOK:
            return
        if _use_log(connection) != "wal":
            raise RegistryError(f"{path} cannot use write-ahead logging", "Keep it on a local disk, or use PostgreSQL.")
        pragma("synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        read_only = purpose is Purpose.LOOK or connection.get_execution_options().get(READ_ONLY, False)
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        if read_only:
            _bound_reading(driver, path)
        else:
            driver.set_progress_handler(None, 0)  # what a write takes depends on what it is given
            driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if read_only else 'OFF'}")
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    remember(engine)
    return engine


def remember(engine: Engine) -> None:
    """Have the engine start with no connections in a child of this process."""
    _engines.add(engine)


def file_uri(path: Path, *, read_only: bool) -> str:
    """How SQLite is told to open an existing file. On a read-only disk a file without a log cannot change: SQLite then
    needs no lock and no file beside it."""
    uri = f"file:{quote(os.fsencode(path))}?mode={'ro' if read_only else 'rw'}"
    log = path.with_name(f"{path.name}-wal")
    mounted = os.statvfs(path.parent).f_flag & os.ST_RDONLY if read_only else 0
    if mounted and not (log.exists() and log.stat().st_size):
        uri += "&immutable=1"
    return uri


def _bound_reading(connection: sqlite3.Connection, path: Path) -> None:
    """Have SQLite stop where it takes more steps from here on, or a longer text or blob, than such a file has."""
    size = 0
    for part in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):
            held = part.stat()
            size += min(held.st_size, held.st_blocks * 512)  # a file may have holes
    times = itertools.count(1)
    most = (_MOST_STEPS + _STEPS_A_BYTE * size) // _STEPS_AT_A_TIME
    connection.set_progress_handler(lambda: next(times) > most, _STEPS_AT_A_TIME)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(max(_LONGEST_READ, 2 * size), _LONGEST))


def _use_log(connection: sqlite3.Connection) -> object:
    # While one process switches a file over, SQLite turns others away without waiting for busy_timeout.
    deadline = time.monotonic() + LOCK_WAIT_MS / 1000
    while True:
        try:
            return connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def readers(engine: Engine) -> Engine:
    """The same engine, with transactions that see one state of the database and cannot write."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{READ_ONLY: True})
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One write transaction of an engine that is used for nothing else."""
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def explain(location: Location, error: Exception) -> RegistryError:
    """What a driver or the operating system reported, as one message with what to do about it."""
    if _is_full(location, error):
        full = "the disk is full" if location.path else "the server's disk is full"
        return RegistryError(
            f"{full}: {location.shown} was not changed",
            "Free some space for the registry and for temporary files, then try again: nothing was written.",
        )
    if getattr(_driver_error(error), "sqlite_errorname", "") == "SQLITE_INTERRUPT":
        return RegistryError(
            f"{location.shown} is damaged: reading it takes longer than any file of its size should",
            "Restore a backup, or ask its sender for another copy.",
        )
    if is_too_long(error):
        return RegistryError(
            f"{location.shown}: a text or blob is too long to be read or stored",
            "If nothing so long was given, the file is damaged: restore a backup, or ask its sender for another copy.",
        )
    if isinstance(error, UnicodeDecodeError):
        return RegistryError(f"{location.shown} holds text that is not UTF-8", _ADVICE["malformed"])
    if isinstance(error, OSError):
        refusal = refused(error, error.filename or location.shown)
        if refusal is not None:
            return RegistryError(refusal.message, refusal.hint)
        reason = error.strerror or str(error)
    else:
        reason = str(_driver_error(error))
    reason = location.without_secrets(" ".join(reason.split()))
    refused_by_server = told(location.shown, error, reason) if location.path is None else None
    if refused_by_server is not None:
        return refused_by_server
    usual = "Check that the file and its folder exist and can be written."
    if location.path is None:
        usual = "Check the URL, the user, the password (PGPASSWORD or ~/.pgpass) and that the server runs."
    hint = next((advice for words, advice in _ADVICE.items() if words in reason), usual)
    return RegistryError(f"{location.shown}: {reason}", hint)


def is_too_long(error: Exception) -> bool:
    """Whether SQLite met a text or blob that is longer than it may be."""
    return getattr(_driver_error(error), "sqlite_errorname", "") == "SQLITE_TOOBIG"


def _driver_error(error: Exception) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def _is_full(location: Location, error: Exception) -> bool:
    cause = _driver_error(error)
    if is_full(error) or state(cause) == _DISK_FULL:
        return True
    return location.path is not None and lacks_room(cause, location.path.parent)


def lacks_room(error: BaseException | None, folder: Path) -> bool:
    """Whether SQLite failed in ``folder`` because its disk is full, which it tells in other words too, such as "disk
    I/O error" for its shared memory."""
    if not str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):
        return False
    try:
        return shutil.disk_usage(folder).free < _TOO_LITTLE
    except OSError:
        return False


def _forget_connections() -> None:
    # A SQLite handle that crosses a fork corrupts the file, so a child starts with an empty pool.
    for engine in list(_engines):
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)
