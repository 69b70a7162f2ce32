"""The SQLite file of a registry: how it is recognized, and how a new one is made."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, inspect

from caa_registry.catalog.engines import APPLICATION_ID, Purpose, sqlite_engine, transaction
from caa_registry.catalog.schema import current_revision, migrate
from caa_registry.disk import own_file, own_folder
from caa_registry.errors import RegistryError

_MAGIC = b"SQLite format 3\x00"
_SIDE_FILES = ("", "-journal", "-wal", "-shm")


def check_file(path: Path, *, read_only: bool = False) -> None:
    """Raise ``RegistryError`` unless ``path`` is the file of a registry that can be written, or only read.

    Reads its first 100 bytes only: a file of another program is not even opened as a database, because that
    alone could change it.
    """
    if path.is_dir():
        raise RegistryError(f"{path} is a folder", "Name a file in it: registry.db")
    if not path.exists() or _is_empty(path):
        raise RegistryError(f"no registry at {path}", f"Run: caa init --registry {shlex.quote(str(path))}")
    if not path.is_file():
        raise RegistryError(f"{path} is not a file", "Choose another path.")
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise RegistryError(f"{path} is not a registry: it is not a SQLite file", "Choose another path.")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise RegistryError(
            f"{path} is not a registry: it is a SQLite file of another program",
            "Choose another path. The file was not touched.",
        )
    for needed in () if read_only else (path, path.parent):
        if not os.access(needed, os.W_OK):
            raise RegistryError(
                f"{needed} cannot be written",
                "Give --read-only to read the registry, change the permissions, or copy it elsewhere.",
            )


def check_no_log(path: Path) -> None:
    """Raise ``RegistryError`` where a log lies beside the place of a new file: SQLite would play it into that."""
    for suffix in ("-wal", "-journal"):
        log = path.with_name(path.name + suffix)
        if log.exists() and log.stat().st_size:
            raise RegistryError(
                f"{log} is left of a registry that is not there any more",
                "It may hold its last changes. Put that registry back beside it, or move the log away.",
            )


def prepare_file(
    path: Path, folder: Path, *, create: bool, shared: bool = False, facts: Mapping[str, str] | None = None
) -> None:
    """Make sure that ``path`` is a registry, making it where ``create`` allows.

    A new file appears whole or not at all, also when several processes make it at once. Only its owner can read it,
    unless it is ``shared``: then the umask decides. SQLite gives the files beside it the same permissions. ``facts``:
    what a new registry holds in table ``meta``, by key.
    """
    if create and not path.exists():
        check_no_log(path)
        _make(path, folder, shared=shared, facts=facts)
    if create and _is_empty(path):
        _fill(path, folder, facts)
    check_file(path)


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


def _make(path: Path, folder: Path, *, shared: bool, facts: Mapping[str, str] | None) -> None:
    missing = [parent for parent in (path.parent, *path.parent.parents) if not parent.exists()]
    try:
        if shared:
            path.parent.mkdir(parents=True, exist_ok=True)
        else:
            own_folder(path.parent)
        _make_whole(path, folder, shared=shared, facts=facts)
    except BaseException:
        for parent in missing:
            with suppress(OSError):  # not empty: somebody else uses it by now
                parent.rmdir()
        raise


def _make_whole(path: Path, folder: Path, *, shared: bool, facts: Mapping[str, str] | None) -> None:
    """Build the file under another name, then give it its own in one step."""
    new = path.with_name(f".caa-{os.getpid()}-{secrets.token_hex(4)}.new")
    try:
        _make_empty(new, shared=shared)
        _fill(new, folder, facts)
        try:
            path.hardlink_to(new)
        except FileExistsError:
            pass  # another process was first
        except OSError:  # a file system without hard links
            with suppress(FileExistsError):
                _make_empty(path, shared=shared)
            _fill(path, folder, facts)
    finally:
        for suffix in _SIDE_FILES:
            with suppress(OSError):
                new.with_name(new.name + suffix).unlink()


def _make_empty(path: Path, *, shared: bool) -> None:
    if shared:
        path.touch(exist_ok=False)
    else:
        own_file(path)


def _fill(path: Path, folder: Path, facts: Mapping[str, str] | None) -> None:
    """Turn an empty file into a registry, under its write lock and in one transaction."""
    with transaction(sqlite_engine(path, Purpose.CREATE)) as connection:
        if current_revision(connection) is None:
            _refuse_content(path, connection)
            connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
            migrate(connection, folder, facts=facts)
    # Now that the first page says whose file it is, switch to write-ahead logging for good.
    with sqlite_engine(path, Purpose.UPGRADE).connect():
        pass


def _refuse_content(path: Path, connection: Connection) -> None:
    if inspect(connection).get_table_names():
        raise RegistryError(f"{path} is being used by another program", "Choose another path.")
