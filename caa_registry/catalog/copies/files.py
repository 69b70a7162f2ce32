"""Copies of a whole SQLite file."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from caa_registry.catalog.copies.still import copy_bytes, still
from caa_registry.catalog.engines import file_uri
from caa_registry.disk import own_file
from caa_registry.progress import Progress, silent

_PAGES = 4096
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
