"""Copies of a whole SQLite file."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path

from caa_registry.catalog.copies.still import copy_bytes, still
from caa_registry.catalog.engines import file_uri, lacks_room
from caa_registry.disk import is_full, own_file
from caa_registry.errors import IntegrityError, RegistryError
from caa_registry.progress import Progress, silent

_PAGES = 4096
# A smaller file is copied page by page before another process has begun.
_LARGE = 100_000_000


def copy_file(source: Path, target: Path, progress: Progress = silent, *, fold: bool = False) -> None:
    """Copy a SQLite file as it is at one moment, though others go on writing, to one new file that needs no other and
    has the same permissions. It is not yet on the disk: see ``settle``.

    ``fold``: the log of the source may be folded into its file, by which a large one is copied in a third of the time.
    Raises ``IntegrityError`` where ``source`` is damaged, ``OSError`` where the disk is full, ``RegistryError`` for
    what else SQLite cannot do.
    """
    own_file(target)
    try:
        with still(source) if fold and source.stat().st_size >= _LARGE else nullcontext(False) as stands:
            if stands:
                copy_bytes(source, target, progress)
            else:
                _copy_pages(source, target, progress)
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous=OFF")
            copy.execute("PRAGMA journal_mode=DELETE")
    except (sqlite3.Error, UnicodeDecodeError) as error:  # Python cannot decode SQLite's report of a damaged schema
        raise _explained(error, source, target) from error
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


def _explained(error: Exception, source: Path, target: Path) -> Exception:
    if is_full(error) or lacks_room(error, target.parent):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    name = str(getattr(error, "sqlite_errorname", ""))
    if isinstance(error, UnicodeDecodeError) or name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return IntegrityError(f"{source} is damaged: {error}", "Restore a backup, or try an older one.")
    return RegistryError(f"{source} cannot be copied: {error}", "Check the disk that it is on, and that of the copy.")


@contextmanager
def only_read(path: Path) -> Iterator[None]:
    """Have a SQLite file that is read in the context lie there alone afterwards if it did before: whoever may only read
    leaves an empty log beside it, which goes with the next connection that may write."""
    alone = not any(path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-shm"))
    try:
        yield
    finally:
        if alone and os.access(path, os.W_OK):
            with (
                suppress(sqlite3.Error),
                closing(sqlite3.connect(file_uri(path, read_only=False), uri=True)) as connection,
            ):
                connection.execute("PRAGMA schema_version").fetchone()


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
