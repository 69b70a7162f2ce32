"""A whole registry copied to another place, a file or a PostgreSQL database."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from caa_registry import settings
from caa_registry.blobs.location import open_store, parse_place, place_of
from caa_registry.catalog.copies.files import copy_file, only_read
from caa_registry.catalog.database import Database
from caa_registry.catalog.files import check_file
from caa_registry.catalog.location import Location, locate
from caa_registry.catalog.state import check_known
from caa_registry.errors import IntegrityError, UsageError
from caa_registry.progress import Progress, silent
from caa_registry.registry.maintenance.backup import copy_to_file
from caa_registry.registry.maintenance.restore import Target, empty_place, make_registry
from caa_registry.registry.workspace import Workspace

_HINT = "A registry is copied into an empty place only. Give another path, or an empty database."


def copy(source: str, target: str, blobs: str | None = None, progress: Progress = silent) -> str:
    """Copy the registry at ``source`` as it is at one moment to ``target``, where there is none; where it then is,
    without a password. Both are paths or URLs. ``blobs``: where the copy is to keep its bytes. See
    ``caa_registry.copy``."""
    for url, what in ((source, "source"), (target, "target")):
        if not url.strip():
            raise UsageError(f"the {what} of the copy is empty", "Give a path or a URL.")
    blob_place = None if blobs is None else parse_place(blobs)
    url, place = settings.registry_url(source), settings.registry_url(target)
    origin = locate(url)
    if origin.path is not None:
        if not origin.path.exists():
            raise UsageError(f"there is no registry at {origin.shown}", "Give the path of one, or its URL.")
        check_file(origin.path, read_only=True)
    with only_read(origin.path) if origin.path is not None else nullcontext():
        return _copy(origin, url, Target(empty_place(place, _HINT), place, blob_place), progress)


def _copy(origin: Location, url: str, target: Target, progress: Progress) -> str:
    if origin.path is not None:
        check_known(origin.path)
    damage = f"Nothing was copied. All that is wrong: caa fsck --read-only {origin.option}"

    def put(part: Path, telling: Progress) -> None:
        if origin.path is not None:
            copy_file(origin.path, part, telling)
            # An older one is upgraded in the copy.
            with Database.open(f"sqlite:///{part}", create=False) as made:
                if place_of(made) is None:
                    return
            part.unlink()
        with Database.open(url, create=False, read_only=True) as database:
            lost = copy_to_file(Workspace(database, open_store(database), "copy"), part, telling)
        if lost:
            raise IntegrityError(f"{origin.shown} is damaged: it has lost {len(lost)} blobs", damage)

    make_registry(target, put, origin.shown, damage, progress)
    return target.location.shown
