"""A registry made of a file: of a backup, or of the copy of another registry."""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select

from caa_registry import settings
from caa_registry.blobs.database import DatabaseBlobStore
from caa_registry.blobs.external import write_all
from caa_registry.blobs.location import BlobPlace, claimed, parse_place, place_of
from caa_registry.blobs.objects import name_of
from caa_registry.catalog import models as t
from caa_registry.catalog.copies.files import copy_file, settle
from caa_registry.catalog.copies.rows import check_empty, fill_server
from caa_registry.catalog.database import Database
from caa_registry.catalog.engines import lacks_room
from caa_registry.catalog.files import check_file, check_no_log
from caa_registry.catalog.location import Location, locate
from caa_registry.catalog.state import check_known, look
from caa_registry.disk import give_name, is_full, own_folder, place
from caa_registry.errors import IntegrityError, RegistryError, UsageError
from caa_registry.progress import Progress, part_of, silent
from caa_registry.registry.maintenance.fsck import fsck
from caa_registry.registry.workspace import Workspace

_PUTTING, _CHECKING, _FILLING = 1, 5, 3
_BLOBS = 20  # read at a time


def restore(backup: Path, url: str | None = None, blobs: str | None = None, progress: Progress = silent) -> str:
    """Make a registry of a backup, whose every digest is checked before; where it then is, without a password.

    ``url``: a path or URL where there is none, by default that of ``caa_registry.open``. An older backup is upgraded.
    ``blobs``: where the registry is to keep its bytes, a folder or ``s3://BUCKET/PREFIX``, by default in its database.
    ``backup`` itself is not changed. What is restored appears whole or not at all.

    Raises ``UsageError`` for no file and where there is a registry already, ``RegistryError`` for a file that is no
    registry, ``IntegrityError`` where the backup is damaged, ``BlobStoreError`` where nothing can be kept in ``blobs``.
    """
    blob_place = None if blobs is None else parse_place(blobs)
    url = settings.registry_url(url)
    target = empty_place(url, "A backup is restored into an empty place only. Name one: --registry PATH")
    backup = backup.absolute()
    if not backup.exists():
        raise UsageError(f"there is no file {backup}", "Give the path of a backup, as caa backup printed it.")
    check_file(backup, read_only=True)
    check_known(backup)

    def put(part: Path, telling: Progress) -> None:
        copy_file(backup, part, telling)

    hint = f"Nothing was restored. Try an older backup. All that is wrong: caa fsck --read-only --registry {backup}"
    make_registry(Target(target, url, blob_place), put, str(backup), hint, progress)
    return target.shown


def empty_place(url: str, hint: str) -> Location:
    """Where a registry is to be made. Raises ``UsageError`` with ``hint`` where there is one, ``RegistryError`` for a
    file of another program and a database that takes no registry."""
    location, found = locate(url), look(url)
    if found.state == "unusable":
        problem, _, advice = found.problem.partition("\n")
        raise RegistryError(problem, advice)
    if found.state != "none":
        raise UsageError(f"there is a registry at {location.shown} already", hint)
    if location.path is None:
        check_empty(location)
    else:
        check_no_log(location.path)
    return location


@dataclass(frozen=True)
class Target:
    """Where a registry is to be made: at ``url``, which is that ``location``; ``blobs``: where it is to keep its bytes,
    ``None`` for its database."""

    location: Location
    url: str
    blobs: BlobPlace | None = None


def make_registry(
    target: Target, put: Callable[[Path, Progress], None], source: str, hint: str, progress: Progress
) -> None:
    """Make a registry at ``target``, where there is none, of the SQLite file that ``put`` writes, with all bytes in it.
    All of it is checked before. It appears whole or not at all. Raises ``IntegrityError`` where the file is damaged:
    ``source``, of which it is a copy, with ``hint``."""
    location = target.location
    parts = (_PUTTING, _CHECKING) if location.path is not None else (_PUTTING, _CHECKING, _FILLING)
    if location.path is not None:
        own_folder(location.path.parent)
    with place(location.path or Path("registry"), beside=location.path is not None) as part:
        put(part, part_of(progress, 0, parts))
        settle(part)
        part.chmod(0o600)
        with Database.open(f"sqlite:///{part}", create=False) as made:
            elsewhere = place_of(made)
            if elsewhere is not None:
                raise UsageError(
                    f"{source} is a registry whose blobs are in {elsewhere.shown}, and no backup",
                    f"Make one: caa backup FILE --registry {shlex.quote(source)}",
                )
            _check(made, source, hint, part_of(progress, 1, parts))
        with nullcontext() if target.blobs is None else _moved(part, target.blobs, target.url):
            if location.path is None:
                with Database.open(f"sqlite:///{part}", create=False) as made, made.read() as rows:
                    fill_server(location, rows, part_of(progress, 2, parts))
            else:
                give_name(part, location.path, force=False)
    progress(1, 1)


@contextmanager
def _moved(part: Path, place: BlobPlace, url: str) -> Iterator[None]:
    """The bytes of the file ``part`` are in ``place``, and no longer in it. They are taken away again where the
    registry does not come to be at ``url``."""
    with claimed(place, url, shared=False) as claim:
        with Database.open(f"sqlite:///{part}", create=False) as copy:
            with copy.read() as session:
                query = select(t.Blob.digest, t.Blob.data).execution_options(yield_per=_BLOBS)
                write_all(claim.objects, _named(session.execute(query), claim.written))
            with copy.write() as session:
                session.execute(delete(t.Blob))
                session.add_all(t.Meta(key=key, value=value) for key, value in claim.facts.items())
        _shrink(part)
        settle(part)
        yield


def _shrink(part: Path) -> None:
    """Give back the room that bytes took which are elsewhere now."""
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as file:
            # Without a log: what of that cannot be folded in when a file is closed, nobody is told.
            file.execute("PRAGMA journal_mode=DELETE")
            file.execute("VACUUM")
    except sqlite3.Error as error:
        if is_full(error) or lacks_room(error, part.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part)) from error
        raise RegistryError(f"the registry cannot be made: {error}", "Check the disk that it is to be on.") from error


def _named(rows: Iterable[Any], names: list[str]) -> Iterator[tuple[str, bytes]]:
    for digest, data in rows:
        names.append(name_of(digest))
        yield names[-1], bytes(data)


def _check(made: Database, source: str, hint: str, progress: Progress) -> None:
    report = fsck(Workspace(made, DatabaseBlobStore(made), "restore"), progress=progress)
    if report.damage:
        first = report.damage[0]
        raise IntegrityError(f"{source} is damaged: {first.thing}: {first.problem}", hint)
