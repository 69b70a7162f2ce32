"""Copies of a registry, as one SQLite file whatever database it is in."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import delete, insert, or_, select

from caa_registry.blobs.location import KEY
from caa_registry.blobs.removal import PREFIX
from caa_registry.blobs.store import BlobStore
from caa_registry.catalog import models as t
from caa_registry.catalog.copies.files import copy_file, settling
from caa_registry.catalog.copies.rows import copy_rows
from caa_registry.catalog.database import Database
from caa_registry.catalog.events import AuditCheck, verify_chain
from caa_registry.catalog.files import check_no_log
from caa_registry.digests import short
from caa_registry.disk import check_parent, give_name, place
from caa_registry.errors import IntegrityError, NotFoundError, UsageError
from caa_registry.progress import Progress, part_of, silent
from caa_registry.registry.maintenance.gc import REFERRING
from caa_registry.registry.records import Backup
from caa_registry.registry.workspace import Workspace

_PARTS = (1, 5)  # of the work: rows, and bytes from elsewhere
# What backups in a folder are called: by the registry that they are of, and by the time, so that they sort.
_NAMED = r"caa-{registry}-\d{{8}}T\d{{12}}Z\.db"


def backup(workspace: Workspace, destination: Path, keep: int | None = None, progress: Progress = silent) -> Backup:
    """Copy the registry as it is at one moment, though others go on writing, and read the copy again.

    Bytes that are kept outside the database are copied into it, all that something in it refers to.

    ``destination``: a file that does not exist yet, or a folder, in which the copy is named by the time. ``keep``: how
    many copies to leave in the folder, the newest. The copy appears whole or not at all.

    Raises ``UsageError`` for a destination that is taken, ``WriteError`` where the disk is full, ``IntegrityError``
    where the copy is not a registry that is whole.
    """
    registry = _registry(workspace.database)
    path = _named(destination, registry, keep)
    check_no_log(path)
    with place(path) as part:
        lost = copy_to_file(workspace, part, progress)
        with settling(part):
            check = _checked(part)
        size = part.stat().st_size
        give_name(part, path, force=False)
    _settle(path.parent)
    removed = _rotated(path.parent, registry, keep) if keep is not None else ()
    return Backup(path, size, check.events, check.head, removed, lost)


def _registry(database: Database) -> str:
    """What tells this registry from others: how the digest of its first event begins."""
    with database.read() as session:
        first = session.scalar(select(t.Event.digest).order_by(t.Event.id).limit(1))
    return short(first) if first else "empty"


def _named(destination: Path, registry: str, keep: int | None) -> Path:
    if keep is not None and keep < 1:
        raise UsageError(f"{keep} backups cannot be kept", "Keep 1 or more.")
    if destination.is_dir():
        return destination / f"caa-{registry}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z.db"
    if keep is not None:
        raise UsageError(f"there is no folder {destination}", "--keep counts the backups in a folder: make it first.")
    if os.path.lexists(destination):
        raise UsageError(f"{destination} exists", "Give another name, or a folder.")
    check_parent(destination)
    return destination


def copy_to_file(workspace: Workspace, part: Path, progress: Progress) -> tuple[str, ...]:
    """Copy a registry as it is at one moment to one new SQLite file, whatever database it is in, and its bytes into
    that. The digests of blobs that a store outside the database has lost."""
    database, blobs = workspace.database, workspace.blobs
    if database.path is not None and blobs.in_catalogue:
        copy_file(database.path, part, progress, fold=not database.read_only)
        return ()
    # First a registry with a log of its own, then one file of it.
    whole, lost = part.with_name("rows.db"), tuple[str, ...]()
    if database.path is not None:
        copy_file(database.path, whole, part_of(progress, 0, _PARTS), fold=not database.read_only)
    with Database.open(f"sqlite:///{whole}", create=database.path is None) as copy:
        if database.path is None:
            with database.read() as source, copy.write() as target:
                copy_rows(source, target, progress if blobs.in_catalogue else part_of(progress, 0, _PARTS))
        if not blobs.in_catalogue:
            lost = _take_in(copy, blobs, part_of(progress, 1, _PARTS))
    copy_file(whole, part)
    return lost


def _take_in(copy: Database, blobs: BlobStore, progress: Progress) -> tuple[str, ...]:
    """Put all bytes that the copy refers to into it; the digests of those that the store has lost."""
    with copy.write() as session:
        deleted, needed = set[str](), set[str]()
        for table, column in REFERRING:
            for digest, moment in session.execute(select(column, table.deleted_at).where(column.is_not(None))):
                (needed if moment is None else deleted).add(digest)
        session.execute(delete(t.Meta).where(or_(t.Meta.key == KEY, t.Meta.key.startswith(PREFIX, autoescape=True))))
        ages = {stat.digest: stat for stat in blobs.stats()}
        # Those of what was deleted may be gone.
        wanted, lost = sorted(needed | (deleted & ages.keys())), []
        for place, (digest, read) in enumerate(zip(wanted, blobs.read_each(wanted), strict=True), start=1):
            try:
                data = read()
            except (NotFoundError, IntegrityError):
                lost.append(digest)
                continue
            stored = ages[digest].stored_at if digest in ages else None
            session.execute(insert(t.Blob).values(digest=digest, size=len(data), data=data, stored_at=stored))
            progress(place, len(wanted))
    return tuple(lost)


def _checked(part: Path) -> AuditCheck:
    """The log of a copy whose pages and log are whole. Raises ``IntegrityError``."""
    with Database.open(f"sqlite:///{part}", create=False, read_only=True) as copy, copy.read() as session:
        # Nobody else changes the copy, so that it can be read where it lies in memory.
        session.connection().exec_driver_sql(f"PRAGMA mmap_size={part.stat().st_size}")
        found = session.connection().exec_driver_sql("PRAGMA integrity_check(1)").scalar()
        if found != "ok":
            raise IntegrityError(
                f"the copy is damaged, and was not kept: {found}", "Look at the registry itself: caa fsck"
            )
        return verify_chain(session)


def _settle(folder: Path) -> None:
    """Have the disk know the new name."""
    with suppress(OSError):  # not every file system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rotated(folder: Path, registry: str, keep: int) -> tuple[Path, ...]:
    named = re.compile(_NAMED.format(registry=registry))
    backups = sorted(path for path in folder.iterdir() if named.fullmatch(path.name) and path.is_file())
    old = tuple(backups[:-keep])
    for path in old:
        path.unlink(missing_ok=True)  # another backup may be at it too
    return old
