"""A SQLite file copied by its bytes, which takes a third of the time of copying it page by page.

That needs a moment at which all of the log is folded into the file, and that nobody folds more into it meanwhile. A
reader that begins at such a moment reads the file alone; it holds a lock without which nobody writes to the file
(``WAL_READ_LOCK(0)`` in SQLite's description of the log, https://sqlite.org/walformat.html). Others go on writing to
the log.
"""

from __future__ import annotations

import os
import select
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from caa_registry.catalog.engines import file_uri
from caa_registry.progress import Progress

# A process of its own: whoever closes a file loses all locks that its process has on it, those of SQLite too.
# It does not empty the target first: ext4 writes a file that was emptied to the disk when it is closed
# (``auto_da_alloc``), and whoever closes it waits.
_COPY = """
import shutil, sys
try:
    with open(sys.argv[1], "rb", buffering=0) as source, open(sys.argv[2], "r+b", buffering=0) as target:
        shutil.copyfileobj(source, target, 1 << 20)
except OSError as error:
    sys.exit(error.errno)
"""
_LOOK_SECONDS = 0.1
_WAIT_SECONDS = 1
# Somebody else may be folding.
_TRIES = 3


@contextmanager
def still(path: Path) -> Iterator[bool]:
    """Whether the file alone is the registry as it is at one moment, and stays so while the context lasts, though
    others go on writing.

    It is not where somebody has been reading since before the last transactions, or is writing for long, and where the
    file cannot be written.
    """
    with ExitStack() as opened:
        # It waits no longer than others wait for it.
        writer, folder, reader = (opened.enter_context(closing(_connection(path))) for _ in range(3))
        yield any(_begun(writer, folder, reader) for _ in range(_TRIES))


def _connection(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(file_uri(path, read_only=False), uri=True, isolation_level=None, timeout=_WAIT_SECONDS)


def _begun(writer: sqlite3.Connection, folder: sqlite3.Connection, reader: sqlite3.Connection) -> bool:
    """Whether ``reader`` has begun at a moment at which all of the log was folded in."""
    try:
        # Most is folded in before anybody has to wait.
        folder.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        writer.execute("BEGIN IMMEDIATE")
        # Without a log these are -1.
        busy, pages, folded = folder.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        whole = not busy and pages == folded >= 0
        if whole:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        writer.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    return whole


def copy_bytes(source: Path, target: Path, progress: Progress) -> None:
    """Copy the bytes of a file that is ``still`` to another, which is there and empty. Raises ``OSError``."""
    size = max(source.stat().st_size, 1)
    command = [sys.executable, "-I", "-S", "-c", _COPY, str(source), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as copying:
        try:
            assert copying.stdout is not None
            # It prints nothing: what it would print to is closed when it ends.
            while not select.select([copying.stdout], [], [], _LOOK_SECONDS)[0]:
                progress(min(target.stat().st_size, size), size)
            copying.wait()
        except BaseException:
            copying.kill()
            raise
    if copying.returncode:
        raise OSError(copying.returncode, os.strerror(copying.returncode), str(target))
    progress(size, size)
