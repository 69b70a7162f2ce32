"""A registry, opened: one that is there or is made, one made of a backup, one that is a copy of another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caa_registry import settings
from caa_registry.blobs.location import check_same, claimed, open_store, parse_place
from caa_registry.catalog.database import Database
from caa_registry.catalog.state import look
from caa_registry.display.bars import ProgressOption, shown
from caa_registry.registry.registry import Registry


def open(
    url: str | None = None,
    *,
    actor: str | None = None,
    create: bool = True,
    shared: bool = False,
    read_only: bool = False,
    blobs: str | None = None,
) -> Registry:
    """Open a registry: a path, a SQLAlchemy URL, or by default ``CAA_REGISTRY`` or ``~/.caa/registry.db``.

    A registry that does not exist is created unless ``create`` is false; its file is for its owner only, unless it is
    ``shared``: then the umask decides who may read and write it. ``read_only``: nothing is written, so it may lie on a
    read-only disk. ``blobs``: where a registry that is created keeps its bytes, a folder or ``s3://BUCKET/PREFIX``, by
    default in the database; one that is there must keep them there. Raises ``RegistryError`` where it cannot be opened,
    ``BlobStoreError`` where nothing can be kept in ``blobs``.
    """
    name = settings.actor(actor)  # before the database, so that a bad settings file leaves nothing open
    target = settings.registry_url(url)
    place = None if blobs is None else parse_place(blobs)
    if place is not None and create and not read_only and look(target).state == "none":
        with claimed(place, target, shared=shared) as claim:
            database = Database.open(target, create=True, shared=shared, facts=claim.facts)
            with _closing_on_error(database):
                check_same(database, place)  # another process may have made it meanwhile
    else:
        database = Database.open(target, create=create, shared=shared, read_only=read_only)
    with _closing_on_error(database):
        if place is not None:
            check_same(database, place)
        return Registry(database, open_store(database), name)


@contextmanager
def _closing_on_error(database: Database) -> Iterator[None]:
    try:
        yield
    except BaseException:
        database.close()
        raise


def restore(
    backup: str | Path,
    url: str | None = None,
    *,
    actor: str | None = None,
    blobs: str | None = None,
    progress: ProgressOption = None,
) -> Registry:
    """Make a registry of a backup, all of which is checked before, and open it.

    ``url``: as ``open`` takes it; there must be no registry there. ``blobs``: where it is to keep its bytes, as
    ``open`` takes it. Raises ``UsageError`` where there is one, ``RegistryError`` for a file that is no registry,
    ``IntegrityError`` where the backup is damaged, ``BlobStoreError`` where nothing can be kept in ``blobs``.
    """
    from caa_registry.registry.maintenance.restore import restore as restore_file

    with shown(restoring=progress) as (telling,):
        restore_file(Path(backup), url, blobs, telling)
    return open(url, actor=actor, create=False)


def copy(
    source: str | Path,
    target: str | Path,
    *,
    actor: str | None = None,
    blobs: str | None = None,
    progress: ProgressOption = None,
) -> Registry:
    """Copy a whole registry as it is at one moment, though others go on writing, and open the copy.

    Both are paths or URLs; there must be no registry at ``target``. The copy has the same rows, numbers, digests and
    log, whichever of SQLite and PostgreSQL each is in; all of it is checked before it appears, whole or not at all.
    ``source`` is only read: an older file is upgraded in the copy. ``blobs``: where the copy is to keep its bytes, as
    ``open`` takes it; it never shares a place with the source. Raises ``UsageError`` where ``source`` is no
    registry or ``target`` is one, ``RegistryError``, also for an older PostgreSQL registry, ``IntegrityError`` where
    ``source`` is damaged, ``WriteError``, ``BlobStoreError`` where nothing can be kept in ``blobs``.
    """
    from caa_registry.registry.maintenance.copies import copy as copy_registry

    with shown(copying=progress) as (telling,):
        copy_registry(str(source), str(target), blobs, telling)
    return open(str(target), actor=actor, create=False)
